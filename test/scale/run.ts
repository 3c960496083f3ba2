/**
 * What a cluster costs and how it grows, by hand (Linux): node --import tsx --conditions=source test/scale/run.ts
 * [--parts query,streaming,latency,idle] [--rows 20000] [--dimensions 128] [--seconds 15] [--port 26000] [--folder DIR]
 *
 * All nodes share this machine, so throughput does not grow with their number here. What is measured instead is the CPU time
 * that each process takes for the same work: if every node had one processor of its own, the kind of node would do as much in a
 * second as its busiest node leaves room for. What other programs take of the machine is not in it.
 *
 * query, streaming: the same searches, the same inserts, with one, two and three nodes of the kind. latency: one connection, a
 * standalone server and the cluster in turns, and where the time goes by what caller and callee measure of each call. idle: nobody asks.
 */
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type pg from 'pg'
import { startServer } from '../server.js'
import { connectTo, ScaledCluster, type Usage, untilSteady, usedBetween } from './cluster.js'
import { compareLatency } from './compare-latency.js'
import { connectAll, Docs, type Figures, runFor, type Statement } from './load.js'

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'query,streaming,latency,idle' },
    rows: { type: 'string', default: '20000' },
    dimensions: { type: 'string', default: '128' },
    seconds: { type: 'string', default: '15' },
    port: { type: 'string', default: '26000' },
    folder: { type: 'string' },
  },
})
const parts = new Set(values.parts.split(','))
const rowCount = Number(values.rows)
const seconds = Number(values.seconds)
const nodeCounts = [1, 2, 3]
const connectionsPerProxy = 2
const shards = 6
const idleSeconds = 20
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-scale-')))
await mkdir(folder, { recursive: true })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const cluster = new ScaledCluster({ folder, port: Number(values.port), logChannels: shards })
await cluster.start()
const proxies = [cluster.proxyUrl(1), cluster.proxyUrl(2)]
const admin = await connectTo(cluster.proxyUrl(1))
const docs = new Docs(Number(values.dimensions))
await docs.create(admin, `WITH (shards = ${shards}, replicas = 1)`)

if (parts.has('streaming')) {
  print('\nstreaming nodes: INSERT of 50 rows, graph included; CPU ms a row')
  await cluster.stop('streaming-2')
  for (const count of nodeCounts) {
    if (count > 1) await cluster.start(`streaming-${count}`)
    await untilSteady('log channels', async () => (await ownersOf(admin)).length === count)
    await measure(`${count} streaming`, 'streaming', docs.insertMany, 50)
  }
  await cluster.stop('streaming-3')
}
await load(admin, rowCount)
print(`${docs.rowCount} rows of ${docs.dimensions} dimensions, ${shards} shards`)
if (parts.has('query')) {
  print('\nquery nodes: ten nearest, by HNSW with ef_search 100 and exactly; CPU ms a search')
  await cluster.stop('query-2')
  for (const count of nodeCounts) {
    if (count > 1) await cluster.start(`query-${count}`)
    await untilSteady('segments', async () => (await holdersOf(admin)).length === count)
    await measure(`${count} query, HNSW`, 'query', docs.search, 1)
    await measure(`${count} query, exact`, 'query', docs.search, 1, 'SET enable_indexscan = off')
  }
  await cluster.stop('query-3')
}
if (parts.has('latency')) {
  const standalone = await startServer({ args: ['--log-channels', '2', '--evaluators', '1'] })
  try {
    await compareLatency({
      cluster,
      standalone,
      seconds,
      print,
      rowCount: Math.min(rowCount, 10_000),
    })
  } finally {
    await standalone.stop()
  }
}
if (parts.has('idle')) {
  const before = cluster.usage()
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1000))
  const resident = cluster.residentMegabytes()
  print('\nidle: CPU % of one processor, MB resident')
  for (const { name, cpuSeconds } of usedBetween(before, cluster.usage())) {
    const percent = ((cpuSeconds / idleSeconds) * 100).toFixed(1)
    print(
      `${name.padEnd(14)} ${percent.padStart(5)} % ${resident.get(name)?.toFixed(0).padStart(5)} MB`,
    )
  }
}
await admin.end()
await cluster.stop()

/** By CPU time per row or search: the busiest node of the kind, the kind, and everything. */
async function measure(
  label: string,
  kind: string,
  statement: Statement,
  perStatement: number,
  setting = 'SET hnsw.ef_search = 100',
): Promise<void> {
  const clients = await connectAll(proxies, connectionsPerProxy)
  for (const client of clients) await client.query(setting)
  await runFor(clients, seconds / 5, statement)
  const before = cluster.usage()
  const figures: Figures = await runFor(clients, seconds, statement)
  const used = usedBetween(before, cluster.usage())
  await Promise.all(clients.map((client) => client.end()))
  const work = figures.count * perStatement
  const msOf = (some: readonly Usage[]): number =>
    (some.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) * 1000) / work
  const own = used.filter((usage) => usage.kind === kind)
  const busiest = Math.max(...own.map((usage) => msOf([usage])))
  const kinds = [...new Set(used.map((usage) => usage.kind))]
  const others = kinds
    .map((name) => `${name} ${msOf(used.filter((usage) => usage.kind === name)).toFixed(3)}`)
    .join(', ')
  print(
    `${label}: the busiest ${busiest.toFixed(3)} ms, so ${(1000 / busiest).toFixed(0)}/s with a processor each; here ${(work / seconds).toFixed(0)}/s; by kind: ${others}`,
  )
}

async function load(client: pg.Client, count: number): Promise<void> {
  const clients = await connectAll(proxies, 1)
  while (docs.rowCount < count) {
    await Promise.all(clients.map((each) => docs.insertMany(each, 0)))
  }
  await Promise.all(clients.map((each) => each.end()))
  await client.query('CHECKPOINT')
  await client.query('VACUUM docs')
  await untilSteady('indexes', async () => {
    const { rows } = await client.query('SELECT 1 FROM elanus.jobs')
    return rows.length === 0
  })
}

/** Streaming nodes that own a log channel. */
async function ownersOf(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query('SELECT DISTINCT node FROM elanus.channels')
  return rows.map(({ node }) => node)
}

/** Query nodes that hold a sealed segment. */
async function holdersOf(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query(
    `SELECT DISTINCT unnest(nodes) AS node FROM elanus.segments WHERE loading_nodes = '{}' AND leaving_nodes = '{}'`,
  )
  return rows.map(({ node }) => node)
}

/**
 * One connection, nothing else: a standalone server and the cluster in turns, the same rows. Where the cluster's time goes: each proxy
 * measures its statements and the calls that it makes, each node the calls that it answers. What lies between is the way there and back.
 */
import type pg from 'pg'
import type { TestServer } from '../server.js'
import { type CallSum, connectTo, type ScaledCluster } from './cluster.js'
import { Docs, type Figures, figuresOf, runFor, type Statement } from './load.js'

export interface CompareOptions {
  readonly cluster: ScaledCluster
  readonly standalone: TestServer
  readonly seconds: number
  readonly rowCount: number
  readonly print: (line: string) => void
}

const rounds = 3
const dimensions = 128

interface Side {
  readonly client: pg.Client
  readonly docs: Docs
}

export async function compareLatency(options: CompareOptions): Promise<void> {
  const { cluster, standalone, seconds, rowCount, print } = options
  const sides: readonly Side[] = await Promise.all(
    [standalone.url, cluster.proxyUrl(1)].map((url) => prepare(url, rowCount)),
  )
  print('\nlatency of one connection: standalone, cluster (p50 / p99 ms)')
  for (const name of ['lookUp', 'search', 'insertOne', 'insertTwo'] as const) {
    const latencies: Figures[][] = sides.map(() => [])
    const before = await look(cluster)
    for (let round = 0; round < rounds; round += 1) {
      for (const [i, { client, docs }] of sides.entries()) {
        const statement: Statement = docs[name]
        latencies[i]?.push(await runFor([client], seconds / rounds, statement))
      }
    }
    const after = await look(cluster)
    const shown = latencies.map((figures) => shownOf(figures))
    print(`${name}: ${shown.join(', ')}`)
    const count = latencies[1]?.reduce((sum, figures) => sum + figures.count, 0) ?? 0
    for (const line of breakdown(before, after, count)) print(`  ${line}`)
  }
  for (const { client } of sides) await client.end()
}

async function prepare(url: string, rowCount: number): Promise<Side> {
  const client = await connectTo(url)
  const docs = new Docs(dimensions)
  await client.query('DROP TABLE IF EXISTS docs')
  await docs.create(client, 'WITH (shards = 2)')
  while (docs.rowCount < rowCount) await docs.insertMany(client, 0)
  await client.query('CHECKPOINT')
  await client.query('VACUUM docs')
  return { client, docs }
}

interface Look {
  readonly statements: ReadonlyMap<string, CallSum>
  readonly made: ReadonlyMap<string, CallSum>
  readonly served: ReadonlyMap<string, CallSum>
}

async function look(cluster: ScaledCluster): Promise<Look> {
  const nodes = cluster
    .usage()
    .map(({ name }) => name)
    .filter((name) => /^(coordinator|streaming|query)-/.test(name))
  const served = new Map<string, { count: number; seconds: number }>()
  for (const name of nodes) {
    for (const [key, { count, seconds }] of await cluster.calls(name, 'elanus_call_seconds')) {
      const sums = served.get(key) ?? { count: 0, seconds: 0 }
      served.set(key, { count: sums.count + count, seconds: sums.seconds + seconds })
    }
  }
  return {
    statements: await cluster.calls('proxy-1', 'elanus_statement_seconds'),
    made: await cluster.calls('proxy-1', 'elanus_made_call_seconds'),
    served,
  }
}

/** Of those that came at least half as often as there were statements: what goes on besides is left out. */
function breakdown(before: Look, after: Look, count: number): readonly string[] {
  const rows = (which: 'statements' | 'made' | 'served') =>
    [...after[which]].flatMap(([key, now]) => {
      const then = before[which].get(key) ?? { count: 0, seconds: 0 }
      const calls = now.count - then.count
      if (calls < count / 2) return []
      return [{ key, calls, ms: ((now.seconds - then.seconds) * 1000) / calls }]
    })
  const served = new Map(rows('served').map((row) => [row.key, row]))
  return [
    ...rows('statements').map(({ key, ms }) => `proxy-1, ${key}: ${ms.toFixed(2)} ms a statement`),
    ...rows('made').map(({ key, calls, ms }) => {
      const there = served.get(key)
      const where = there === undefined ? '' : `, ${there.ms.toFixed(2)} ms of it at the callee`
      return `calls ${key}: ${(calls / count).toFixed(2)} a statement, ${ms.toFixed(2)} ms each${where}`
    }),
  ]
}

/** The median round. */
function shownOf(figures: readonly Figures[]): string {
  const middle = [...figures].sort((a, b) => a.p50Ms - b.p50Ms)[Math.floor(figures.length / 2)]
  const { p50Ms, p99Ms } = middle ?? figuresOf([], 1)
  return `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)}`
}

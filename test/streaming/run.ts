/**
 * Searching while rows stream in, by hand (Linux): node --import tsx --conditions=source test/streaming/run.ts [--rows 6000]
 * [--rate 1000] [--seconds 24] [--form literals|text|binary] [--connections 2] [--dimensions 768] [--dist FOLDER]
 *
 * Server, writer and searcher are three processes; nothing is subtracted: all of them, and whatever else runs, share the
 * machine in the searches' figures, with and without the writer. Beside them, what other programs cannot blur: the CPU time
 * that the server takes per row when nobody searches, until the graph has all of them, and what the three processes took in
 * each window. While rows still come, one session inserts single rows and another searches for each: how soon it is found.
 *
 * `form`: how rows come: values in the text of the statement (psycopg2), text parameters, or binary parameters (psycopg with
 * pgvector's adapter) of a prepared statement; 50 rows each.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startServer } from '../server.js'
import { cpuSeconds, machineBusySeconds } from './cpu.js'
import { measureFreshness } from './freshness.js'
import type { SearchFigures, SearchTask } from './run-searcher.js'
import type { Form, WriterTask } from './run-writer.js'
import { makeVectors } from './vectors.js'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '6000' },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '24' },
    form: { type: 'string', default: 'text' },
    connections: { type: 'string', default: '2' },
    dimensions: { type: 'string', default: '768' },
    dist: { type: 'string' },
  },
})
const rowCount = Number(values.rows)
const windowMs = 6000
const rowsPerStatement = 50
const cpuRowCount = 4000
const freshRowCount = 600
/** Beyond all ids of the writer. */
const freshFirstId = 1_000_000_000
const dimensions = Number(values.dimensions)
const form = values.form as Form
const sql = 'SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT 10'
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

interface Writer {
  readonly process: ChildProcess
  inserted: number
}

const server = await startServer(values.dist === undefined ? {} : { dist: values.dist })
const serverPid = server.process?.pid ?? 0
const admin = new pg.Client(server.url)
await admin.connect()
await admin.query('CREATE EXTENSION IF NOT EXISTS vector')
await admin.query(`CREATE TABLE docs (id bigint PRIMARY KEY, embedding vector(${dimensions}))`)
await admin.query('CREATE INDEX docs_e ON docs USING hnsw (embedding vector_cosine_ops)')
let nextId = 0

async function startWriter(rate: number | null): Promise<Writer> {
  const writer = { process: child('run-writer.ts'), inserted: 0 }
  writer.process.on('message', (message: { inserted?: number }) => {
    writer.inserted = message.inserted ?? writer.inserted
  })
  const firstId = nextId
  const task: WriterTask = { url: server.url, form, rate, rowsPerStatement, firstId, dimensions }
  writer.process.send(task)
  await once(writer.process, 'message')
  return writer
}

async function stopWriter(writer: Writer): Promise<void> {
  const ended = once(writer.process, 'exit')
  writer.process.send('stop')
  await ended
  nextId += writer.inserted
}

/** As fast as it goes, until there are so many more. @returns CPU seconds of the server per row, graph included */
async function load(count: number): Promise<number> {
  const before = cpuSeconds(serverPid)
  const writer = await startWriter(null)
  while (writer.inserted < count) await once(writer.process, 'message')
  await stopWriter(writer)
  await untilIdle()
  return (cpuSeconds(serverPid) - before) / writer.inserted
}

/** The graph has all rows: the server works no more. */
async function untilIdle(): Promise<void> {
  for (let quiet = 0; quiet < 3; ) {
    const before = cpuSeconds(serverPid)
    await new Promise((resolve) => setTimeout(resolve, 300))
    quiet = cpuSeconds(serverPid) - before < 0.02 ? quiet + 1 : 0
  }
}

const searcher = child('run-searcher.ts')

async function measure(label: string, writer?: Writer): Promise<SearchFigures> {
  const pids = [
    serverPid,
    searcher.pid ?? 0,
    ...(writer === undefined ? [] : [writer.process.pid ?? 0]),
  ]
  const before = pids.map(cpuSeconds)
  const busyBefore = machineBusySeconds()
  const rowsBefore = writer?.inserted ?? 0
  const task: SearchTask = {
    url: server.url,
    connections: Number(values.connections),
    ms: windowMs,
    dimensions,
  }
  searcher.send(task)
  const [figures] = (await once(searcher, 'message')) as [SearchFigures]
  const used = pids.map((pid, i) => cpuSeconds(pid) - (before[i] ?? 0))
  const others = machineBusySeconds() - busyBefore - used.reduce((sum, one) => sum + one, 0)
  const { perSecond, p50, p99 } = figures
  const rows = (((writer?.inserted ?? 0) - rowsBefore) / windowMs) * 1000
  const [ofServer = 0, ofSearcher = 0, ofWriter = 0] = used
  print(
    `${label}: ${perSecond.toFixed(0)}/s, p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(1)} ms, ${rows.toFixed(0)} rows/s; CPU s: server ${ofServer.toFixed(1)}, searcher ${ofSearcher.toFixed(1)}, writer ${ofWriter.toFixed(1)}, other programs ${others.toFixed(1)}`,
  )
  return figures
}

async function recall(): Promise<number> {
  const queries = makeVectors(200, dimensions, 2)
  let found = 0
  let wanted = 0
  for (let i = 0; i < 40; i += 1) {
    await admin.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    const graph = await admin.query<{ id: string }>(sql, [queries.text(i)])
    await admin.query('SET LOCAL enable_indexscan = off')
    const exact = await admin.query<{ id: string }>(sql, [queries.text(i)])
    await admin.query('COMMIT')
    const ids = new Set(exact.rows.map(({ id }) => id))
    found += graph.rows.filter(({ id }) => ids.has(id)).length
    wanted += ids.size
  }
  return found / wanted
}

async function explain(): Promise<void> {
  const { rows } = await admin.query<Record<string, string>>(`EXPLAIN ANALYZE ${sql}`, [
    makeVectors(1, dimensions, 2).text(0),
  ])
  for (const row of rows) {
    const [line = ''] = Object.values(row)
    if (/Segment \d/.test(line)) print(line.trim())
  }
}

function child(file: string): ChildProcess {
  return fork(new URL(file, import.meta.url), { execArgv: process.execArgv })
}

try {
  await load(rowCount)
  print(`${nextId} rows as ${form}`)
  const perRow = await load(cpuRowCount)
  print(`CPU of the server per row, nobody searching: ${(perRow * 1000).toFixed(3)} ms`)
  await explain()
  print(`recall ${(await recall()).toFixed(4)}`)
  const still: SearchFigures[] = []
  await measure('warming up')
  for (let i = 0; i < 2; i += 1) still.push(await measure('still'))
  const writer = await startWriter(Number(values.rate))
  const streaming: SearchFigures[] = []
  for (let i = 0; i < Number(values.seconds) / (windowMs / 1000); i += 1)
    streaming.push(await measure('streaming', writer))
  await explain()
  print(`recall ${(await recall()).toFixed(4)}`)
  const rowsBefore = writer.inserted
  const freshBegin = performance.now()
  const fresh = await measureFreshness(server.url, dimensions, freshFirstId, freshRowCount)
  const rowsBeside = (writer.inserted - rowsBefore) / ((performance.now() - freshBegin) / 1000)
  print(
    `a row committed by one session found by another's search, ${rowsBeside.toFixed(0)} rows/s beside: p50 ${fresh.p50.toFixed(1)} ms, p99 ${fresh.p99.toFixed(1)} ms, at most ${fresh.most.toFixed(1)} ms; ${fresh.late} of ${fresh.rows} not by the first search`,
  )
  await stopWriter(writer)
  await untilIdle()
  for (let i = 0; i < 2; i += 1) still.push(await measure('still again'))
  const mean = (all: readonly SearchFigures[]): number =>
    all.reduce((sum, { perSecond }) => sum + perSecond, 0) / all.length
  const worst = Math.min(...streaming.map(({ perSecond }) => perSecond))
  print(
    `ratio ${(mean(streaming) / mean(still)).toFixed(3)}, worst window ${(worst / mean(still)).toFixed(3)}`,
  )
} finally {
  searcher.kill()
  await admin.end()
  await server.stop()
}

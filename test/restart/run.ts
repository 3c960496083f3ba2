/**
 * Restart, memory and disk of a standalone server with a large table, by hand (Linux):
 * node --import tsx --conditions=source test/restart/run.ts [--rows 2000000] [--dimensions 100] [--memory 8192] [--folder DIR]
 *
 * 1. The table is loaded and indexed (a folder that has it already is used as it is).
 * 2. Restart with `memory` MB: process start to the first answer of a search, with the page cache as it is and without one
 *    (root only). Must: within 5 s. Then the resident memory while it is searched. Must: within `memory`.
 * 3. Restart with so little memory that the table is four times as large as the part that is for segments: everything is still
 *    answered, and right; resident memory within it.
 * 4. 90 % of the rows are deleted, VACUUM FULL. Must: less than 15 % of the bytes of objects are left, and the rest is answered.
 *
 * Answers are compared with what rows.ts makes of an id; graphs with exact search in the same snapshot.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { startServer, type TestServer } from '../server.js'
import { bytesOnDisk, connect } from '../upkeep/load.js'
import { Rows, tenantOf } from './rows.js'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '2000000' },
    dimensions: { type: 'string', default: '100' },
    memory: { type: 'string', default: '8192' },
    folder: { type: 'string' },
  },
})
const rowCount = Number(values.rows)
const memoryMegabytes = Number(values.memory)
const rowsPerCopy = 100_000
const firstAnswerMsMax = 5000
/** What no table gets, with one evaluator: docs/memory.md. */
const fixedMegabytes = 512
const rows = new Rows(Number(values.dimensions))
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-restart-')))
const sql = 'SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10'
const failures: string[] = []
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const must = (holds: boolean, what: string): void => {
  if (!holds) failures.push(what)
  print(`${holds ? 'as it must be' : 'NOT AS IT MUST BE'}: ${what}`)
}

const start = (megabytes: number): Promise<TestServer> =>
  startServer({
    data: folder,
    args: ['--memory', `${Math.floor(megabytes)}MB`, '--evaluators', '1'],
  })

async function load(client: pg.Client): Promise<void> {
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await client.query(
    `CREATE TABLE IF NOT EXISTS items (id bigint PRIMARY KEY, tenant int, embedding vector(${rows.dimensions}))`,
  )
  const begin = performance.now()
  for (let from = await count(client); from < rowCount; from += rowsPerCopy) {
    const to = Math.min(rowCount, from + rowsPerCopy)
    const copy = client.query(copyFrom('COPY items FROM STDIN (FORMAT binary)'))
    await pipeline(Readable.from(rows.copyBinary(from, to)), copy)
    print(`${to} rows, ${seconds(begin)} s`)
  }
  await client.query(
    'CREATE INDEX IF NOT EXISTS items_embedding ON items USING hnsw (embedding vector_l2_ops)',
  )
  await client.query('CHECKPOINT')
  print(`indexed and flushed after ${seconds(begin)} s`)
}

async function count(client: pg.Client): Promise<number> {
  const counted = await client.query<{ n: string }>('SELECT count(*) AS n FROM items')
  return Number(counted.rows[0]?.n)
}

/** Starts it and searches at once: `act` gets the time from the start of the process to the answer. */
async function withRestarted(
  megabytes: number,
  label: string,
  act: (server: TestServer, client: pg.Client, answeredMs: number) => Promise<void>,
): Promise<void> {
  const begin = performance.now()
  const server = await start(megabytes)
  try {
    const listensMs = performance.now() - begin
    const client = await connect(server)
    const wanted = 4711 % rowCount
    const found = await client.query<{ id: string }>(sql, [rows.text(wanted)])
    const answeredMs = performance.now() - begin
    print(
      `${label}: listens after ${(listensMs / 1000).toFixed(2)} s, first search answered after ${(answeredMs / 1000).toFixed(2)} s`,
    )
    const isPresent = Number(found.rows[0]?.id) === wanted
    if (!isPresent) failures.push(`${label}: the first search did not find its row`)
    await act(server, client, answeredMs)
    await client.end()
  } finally {
    await server.stop()
  }
}

/** Searches, look-ups, whole scans. Wrong answers are failures. @returns greatest resident bytes seen */
async function use(server: TestServer, client: pg.Client, present: (id: number) => boolean) {
  const pid = server.process?.pid ?? 0
  let most = 0
  const sampling = setInterval(() => {
    most = Math.max(most, residentBytes(pid).all)
  }, 50)
  const begin = performance.now()
  try {
    const others = await Promise.all(Array.from({ length: 3 }, () => connect(server)))
    const searches = 200
    let foundItself = 0
    await Promise.all(
      [client, ...others].map(async (one, number) => {
        for (let i = number; i < searches; i += 4) {
          const wanted = nearestPresent((i * 9973) % rowCount, present)
          const found = await one.query<{ id: string }>(sql, [rows.text(wanted)])
          if (Number(found.rows[0]?.id) === wanted) foundItself += 1
          if (found.rows.some(({ id }) => !present(Number(id))))
            failures.push('a search found a deleted row')
          const looked = await one.query<{ tenant: number }>(
            'SELECT tenant FROM items WHERE id = $1',
            [wanted],
          )
          if (looked.rows[0]?.tenant !== tenantOf(wanted)) failures.push(`look-up of ${wanted}`)
        }
      }),
    )
    print(
      `${searches} searches and look-ups on 4 connections: ${seconds(begin)} s; ${foundItself} rows found by their own vector`,
    )
    // Graphs are approximate.
    if (foundItself < searches * 0.9) failures.push('rows are not found by their own vector')
    await wholeScans(client, present)
    for (const other of others) await other.end()
  } finally {
    clearInterval(sampling)
  }
  const memory = await client.query<{ part: string; used: string; budget: string; events: object }>(
    `SELECT part, used_bytes / 1000000 AS used, budget_bytes / 1000000 AS budget, events FROM elanus.memory`,
  )
  for (const { part, used, budget, events } of memory.rows)
    print(`  ${part}: ${used} of ${budget} MB ${JSON.stringify(events)}`)
  const { all, files } = residentBytes(pid)
  print(
    `  resident: ${inMegabytes(all)} MB now (${inMegabytes(files)} of it files), ${inMegabytes(most)} MB at most; ${inMegabytes(peakBytes(pid))} MB since its start`,
  )
  return most
}

async function wholeScans(client: pg.Client, present: (id: number) => boolean): Promise<void> {
  let wantedCount = 0
  let wantedSum = 0
  for (let id = 0; id < rowCount; id += 1) {
    if (!present(id)) continue
    wantedCount += 1
    wantedSum += tenantOf(id)
  }
  const begin = performance.now()
  const sums = await client.query<{ n: string; sum: string }>(
    'SELECT count(*) AS n, sum(tenant) AS sum FROM items',
  )
  print(`count(*), sum(tenant): ${seconds(begin)} s`)
  if (Number(sums.rows[0]?.n) !== wantedCount || Number(sums.rows[0]?.sum) !== wantedSum)
    failures.push(`sums are ${JSON.stringify(sums.rows)}, not ${wantedCount}, ${wantedSum}`)
  const recallBegin = performance.now()
  let found = 0
  let wanted = 0
  for (let i = 0; i < 20; i += 1) {
    // Between two rows: no row of its own.
    const query = rows.text(rowCount + i)
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SET LOCAL hnsw.ef_search = 100')
    const graph = await client.query<{ id: string }>(sql, [query])
    await client.query('SET LOCAL enable_indexscan = off')
    const exact = await client.query<{ id: string }>(sql, [query])
    await client.query('COMMIT')
    const ids = new Set(exact.rows.map(({ id }) => id))
    found += graph.rows.filter(({ id }) => ids.has(id)).length
    wanted += ids.size
  }
  print(
    `recall@10 of 20 searches, ef_search 100: ${(found / wanted).toFixed(3)}: ${seconds(recallBegin)} s`,
  )
  if (found / wanted < 0.95) failures.push('recall')
}

function nearestPresent(id: number, present: (id: number) => boolean): number {
  for (let near = id; near < rowCount; near += 1) if (present(near)) return near
  return 0
}

function residentBytes(pid: number): { readonly all: number; readonly files: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const of = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
    return { all: of('VmRSS'), files: of('RssFile') + of('RssShmem') }
  } catch {
    return { all: 0, files: 0 }
  }
}

function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
}

/** @returns whether it could: root may */
function dropPageCache(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3')
    return true
  } catch {
    return false
  }
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1)
const inMegabytes = (bytes: number): string => (bytes / 1e6).toFixed(0)
const everyRow = (): boolean => true
const everyTenth = (id: number): boolean => id % 10 === 0

async function measure(): Promise<void> {
  const tableBytes = await loadTable()
  for (const cached of [true, false]) {
    if (!cached && !dropPageCache()) continue
    const label = cached ? 'restart' : 'restart without a page cache'
    await withRestarted(memoryMegabytes, label, async (server, client, answeredMs) => {
      must(answeredMs <= firstAnswerMsMax, `${label}: first answer within 5 s`)
      if (!cached) return
      const most = await use(server, client, everyRow)
      must(most <= memoryMegabytes * 1024 ** 2, `resident within ${memoryMegabytes} MB`)
    })
  }
  const little = Math.ceil(Math.max(640, fixedMegabytes + (2 * tableBytes) / 4 / 1024 ** 2))
  print(`${little} MB: the table is four times as large as what of it is for segments`)
  await withRestarted(little, 'restart with little memory', async (server, client) => {
    const most = await use(server, client, everyRow)
    must(most <= little * 1024 ** 2, `resident within ${little} MB`)
  })
  await withRestarted(memoryMegabytes, 'restart', emptyTable)
}

/** @returns bytes of its segments and indexes */
async function loadTable(): Promise<number> {
  const server = await start(memoryMegabytes)
  try {
    const client = await connect(server)
    await load(client)
    const sizes = await client.query<{ segments: string; bytes: string }>(
      'SELECT count(*) AS segments, sum(bytes + index_bytes) AS bytes FROM elanus.segments',
    )
    await client.end()
    const tableBytes = Number(sizes.rows[0]?.bytes)
    print(`${sizes.rows[0]?.segments} segments, ${inMegabytes(tableBytes)} MB`)
    return tableBytes
  } finally {
    await server.stop()
  }
}

async function emptyTable(server: TestServer, client: pg.Client): Promise<void> {
  // Of tables: the copy of the coordinator's keys beside them is no garbage.
  const onDisk = async () => ({
    objects: await bytesOnDisk(join(folder, 'objects'), 'tables'),
    all: await bytesOnDisk(folder),
  })
  const before = await onDisk()
  const begin = performance.now()
  const deleted = await client.query('DELETE FROM items WHERE id % 10 <> 0')
  print(`${deleted.rowCount} rows deleted: ${seconds(begin)} s`)
  await client.query('VACUUM FULL items')
  const after = await onDisk()
  print(`deleted and vacuumed: ${seconds(begin)} s`)
  print(
    `objects ${inMegabytes(before.objects)} → ${inMegabytes(after.objects)} MB, the folder with log and all ${inMegabytes(before.all)} → ${inMegabytes(after.all)} MB`,
  )
  must(after.objects < before.objects * 0.15, 'VACUUM FULL gives the space back')
  await use(server, client, everyTenth)
}

try {
  await measure()
} finally {
  if (values.folder === undefined) await rm(folder, { recursive: true, force: true })
}
for (const failure of failures) print(`failed: ${failure}`)
print(failures.length === 0 ? 'everything was as it must be' : `${failures.length} failures`)
process.exitCode = failures.length === 0 ? 0 : 1

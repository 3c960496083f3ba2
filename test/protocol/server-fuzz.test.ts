import { readFileSync } from 'node:fs'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { runFuzz } from './fuzz.js'

/** A printed seed set here repeats a run. */
const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)

let server: TestServer

beforeAll(async () => {
  server = await startServer()
})

afterAll(async () => {
  await server?.stop()
})

/** Resident memory of the server process, if it is ours; proc(5). */
function residentMegabytes(): number {
  if (server.process === undefined) return 0
  const status = readFileSync(`/proc/${server.process.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}

async function connected(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: server.url })
  client.on('error', () => {})
  await client.connect()
  return client
}

test('malformed messages and vanishing clients leave the server serving, and its memory flat', async () => {
  const client = await connected()
  await client.query('CREATE EXTENSION vector')
  await client.query('CREATE TABLE kept (id int PRIMARY KEY, note text, e vector(3))')
  await client.query(
    `INSERT INTO kept SELECT i, 'n' || i, '[1,2,3]' FROM generate_series(1, 50) AS i`,
  )
  await client.query('CREATE TABLE copied (id int, note text)')
  const statements = [
    'SELECT 1',
    '',
    'BEGIN',
    'SELECT 1; SELECT 2',
    'SELECT id, note FROM kept WHERE id = 7',
    `SELECT id FROM kept ORDER BY e <-> '[1,1,1]' LIMIT 3`,
    'BEGIN; UPDATE kept SET note = note; ROLLBACK',
    'BEGIN; DELETE FROM kept',
    'DECLARE c CURSOR WITH HOLD FOR SELECT 1',
    'COPY kept TO STDOUT',
    'SELECT count(*), max(note) FROM kept',
    'LISTEN x; NOTIFY x',
  ]
  const megabytes: number[] = []
  const report = await runFuzz({
    port: server.port,
    user: server.user,
    database: server.database,
    iterations: 2000,
    seed,
    statements,
    copyStatement: 'COPY copied FROM STDIN',
    afterBatch: (done) => {
      if (done % 250 === 0) megabytes.push(residentMegabytes())
    },
  })
  // Open transactions of clients that vanished hold no rows and no locks.
  const updated = await client.query(`UPDATE kept SET note = 'after' WHERE id <= 50`)
  expect(updated.rowCount).toBe(50)
  expect((await client.query('SELECT count(*)::int AS n FROM kept')).rows).toEqual([{ n: 50 }])
  expect((await client.query('SELECT count(*)::int AS n FROM copied')).rows).toEqual([{ n: 0 }])
  await expect
    .poll(
      async () =>
        (
          await client.query(
            `SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend'`,
          )
        ).rows,
      { timeout: 10_000 },
    )
    .toEqual([{ n: 1 }])
  await client.end()
  expect(report.sqlStates.get('08P01') ?? 0).toBeGreaterThan(50)
  expect(report.sqlStates.get('XX000') ?? 0).toBe(0)
  // One sample may lie just behind a collection: what the first half has reached is what the second must not leave behind.
  const reached = Math.max(...megabytes.slice(0, 4))
  const last = megabytes.at(-1) ?? 0
  expect(last - reached, `resident memory in MB: ${megabytes.map(Math.round)}`).toBeLessThan(64)
  expect(server.output()).not.toContain('internal error')
}, 120_000)

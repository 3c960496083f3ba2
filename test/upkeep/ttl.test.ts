import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { isServerShared } from '../shared-server.js'
import { connect } from './load.js'

let server: TestServer
let client: pg.Client
beforeAll(async () => {
  server = await startServer({ args: ['--log-channels', '2'] })
  client = await connect(server)
  await client.query('CREATE EXTENSION vector')
})
afterAll(async () => {
  await client.end()
  await server.stop()
})

async function numbers(sql: string): Promise<number[]> {
  const { rows } = await client.query<{ n: number }>(sql)
  return rows.map(({ n }) => Number(n))
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** As storage counts, expired ones included. */
async function storedRows(table: string): Promise<number> {
  const [count = 0] = await numbers(
    `SELECT row_count::int AS n FROM elanus.tables WHERE "table" = '${table}'::regclass`,
  )
  return count
}

test('rows that have outlived the ttl are seen by no read and are deleted', async () => {
  await client.query(
    `CREATE TABLE events (id int PRIMARY KEY, at timestamptz, e vector(2))
     WITH (ttl = '1 hour', shards = 2)`,
  )
  await client.query(
    `INSERT INTO events SELECT i, now() - (i || ' minutes')::interval, ARRAY[i, 0]::real[]::vector
     FROM generate_series(0, 119) i`,
  )
  await client.query('INSERT INTO events VALUES (1000, NULL, NULL)')
  expect(await numbers('SELECT count(*) AS n FROM events')).toEqual([61])
  expect(await numbers('SELECT id AS n FROM events WHERE id IN (30, 90)')).toEqual([30])
  expect(await numbers('SELECT id AS n FROM events WHERE id = 90')).toEqual([])
  expect(await numbers(`SELECT id AS n FROM events ORDER BY e <-> '[100, 0]' LIMIT 2`)).toEqual([
    59, 58,
  ])
  expect(
    await numbers(
      'SELECT max(a.id) + count(*) AS n FROM events a JOIN events b ON a.id = b.id WHERE a.id < 1000',
    ),
  ).toEqual([119])
  const { rowCount } = await client.query('UPDATE events SET e = NULL WHERE id > 58')
  expect(rowCount).toBe(2)
  for (let i = 0; i < 200 && (await storedRows('events')) !== 61; i += 1) await pause(50)
  expect(await storedRows('events')).toBe(61)
  // The keys are free again.
  await client.query('INSERT INTO events VALUES (90, now(), NULL)')
  expect(await numbers('SELECT id AS n FROM events WHERE id = 90')).toEqual([90])
})

test.skipIf(isServerShared)(
  'a ttl comes and goes with ALTER TABLE, and holds after a restart',
  async () => {
    await client.query('CREATE TABLE log (id int PRIMARY KEY, made timestamp, seen timestamptz)')
    await client.query(
      `INSERT INTO log SELECT i, (now() AT TIME ZONE 'UTC') - (i || ' days')::interval, now()
     FROM generate_series(0, 9) i`,
    )
    await expect(client.query(`ALTER TABLE log SET (ttl = '5 days')`)).rejects.toMatchObject({
      code: '22023',
      message: '"log" has several columns of type timestamptz or timestamp for its ttl',
    })
    await client.query(`ALTER TABLE log SET (ttl = '5 days', ttl_column = 'made')`)
    expect(await numbers('SELECT id AS n FROM log ORDER BY id')).toEqual([0, 1, 2, 3, 4])
    await client.end()
    await server.kill()
    server = await startServer({ data: server.data, args: ['--log-channels', '2'] })
    client = await connect(server)
    expect(await numbers('SELECT id AS n FROM log ORDER BY id')).toEqual([0, 1, 2, 3, 4])
    await client.query('ALTER TABLE log RESET (ttl, ttl_column)')
    await client.query(`INSERT INTO log VALUES (100, '2001-01-01', now())`)
    await pause(1500)
    expect(await numbers('SELECT id AS n FROM log WHERE id = 100')).toEqual([100])
  },
)

test('an expired row that still holds its key keeps nobody waiting for long', async () => {
  await client.query(
    `CREATE TABLE sessions (id int PRIMARY KEY, at timestamptz) WITH (ttl = '1 s')`,
  )
  const upsert = `INSERT INTO sessions VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = now()`
  for (let i = 0; i < 3; i += 1) {
    const { rowCount } = await client.query(upsert)
    expect(rowCount).toBe(1)
    await pause(1050)
  }
})

test('what makes no sense is refused', async () => {
  const create = (columns: string, options: string) =>
    client.query(`CREATE TABLE wrong (${columns}) WITH (${options})`)
  const cases: [columns: string, options: string, code: string][] = [
    ['id int', `ttl = '1 day'`, '22023'],
    ['at timestamptz', `ttl = '1 month'`, '22023'],
    ['at timestamptz', `ttl = 'soon'`, '22023'],
    ['at timestamptz', `ttl = '1 day', ttl_column = 'made'`, '42703'],
    ['id int, at timestamptz', `ttl = '1 day', ttl_column = 'id'`, '22023'],
    ['at timestamptz', `ttl_column = 'at'`, '22023'],
  ]
  for (const [columns, options, code] of cases)
    await expect(create(columns, options), options).rejects.toMatchObject({ code })
  await client.query(
    `CREATE TABLE parent (id int PRIMARY KEY, at timestamptz) WITH (ttl = '1 day')`,
  )
  await expect(
    client.query('CREATE TABLE child (parent int REFERENCES parent)'),
  ).rejects.toMatchObject({ code: '0A000' })
})

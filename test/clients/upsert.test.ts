/** INSERT … ON CONFLICT of several transactions at once, as PostgreSQL does it. */
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let first: pg.Client
let second: pg.Client
const append =
  'INSERT INTO lists (key, elements) VALUES ($1, ARRAY[$2::int]) ON CONFLICT (key) DO UPDATE SET elements = lists.elements || $2::int'

beforeAll(async () => {
  server = await startServer()
  first = new pg.Client(server.url)
  second = new pg.Client(server.url)
  await first.connect()
  await second.connect()
  await first.query('CREATE TABLE lists (key int PRIMARY KEY, elements int[] NOT NULL)')
  await first.query('CREATE TABLE two_keys (a int PRIMARY KEY, b int UNIQUE, n int NOT NULL)')
})

afterAll(async () => {
  await first.end()
  await second.end()
  await server.stop()
})

async function elements(key: number): Promise<unknown> {
  const { rows } = await first.query('SELECT elements FROM lists WHERE key = $1', [key])
  return rows[0]?.elements
}

test('a row that is newer than the snapshot is a serialization failure', async () => {
  await first.query(append, [1, 1])
  await first.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await first.query('SELECT count(*) FROM lists')
  await second.query(append, [1, 2])
  await second.query(append, [2, 1])
  await expect(first.query(append, [1, 3])).rejects.toMatchObject({ code: '40001' })
  await first.query('ROLLBACK')
  await first.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await first.query('SELECT count(*) FROM lists')
  await second.query(append, [3, 1])
  await expect(first.query(append, [3, 2])).rejects.toMatchObject({ code: '40001' })
  await first.query('ROLLBACK')
  expect(await elements(1)).toEqual([1, 2])
  expect(await elements(3)).toEqual([1])
})

for (const [key, end, found] of [
  [10, 'COMMIT', [1, 2]],
  [11, 'ROLLBACK', [2]],
] as const) {
  test(`who adds a key that another transaction is adding waits for it: ${end}`, async () => {
    await first.query('BEGIN')
    await first.query(append, [key, 1])
    let done = false
    const waiting = second.query(append, [key, 2]).then(() => {
      done = true
    })
    await first.query('SELECT count(*) FROM lists')
    expect(done).toBe(false)
    await first.query(end)
    await waiting
    expect(await elements(key)).toEqual(found)
  })
}

test('a row that two unique keys of the same upsert meet is loaded once', async () => {
  await first.query('INSERT INTO two_keys VALUES (1, 1, 0)')
  await first.query('INSERT INTO two_keys VALUES (1, 1, 5) ON CONFLICT DO NOTHING')
  await first.query(
    'INSERT INTO two_keys VALUES (2, 1, 5), (3, 3, 1) ON CONFLICT (b) DO UPDATE SET n = excluded.n',
  )
  const { rows } = await first.query('SELECT a, b, n FROM two_keys ORDER BY a')
  expect(rows).toEqual([
    { a: 1, b: 1, n: 5 },
    { a: 3, b: 3, n: 1 },
  ])
})

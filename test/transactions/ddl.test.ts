/** DDL in one transaction with rows, as migrations do it: all of it or nothing, and storage agrees with the catalog afterwards. */
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let one: pg.Client
let two: pg.Client

beforeAll(async () => {
  server = await startServer()
  one = new pg.Client({ connectionString: server.url })
  two = new pg.Client({ connectionString: server.url })
  await one.connect()
  await two.connect()
})

afterAll(async () => {
  await one?.end()
  await two?.end()
  await server?.stop()
})

beforeEach(async () => {
  await one.query(`ROLLBACK; DROP TABLE IF EXISTS t, u; CREATE TABLE t (id int PRIMARY KEY, x int)`)
  await one.query(`INSERT INTO t VALUES (1, 1)`)
})

async function code(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: pg.DatabaseError) => error.code,
  )
}

test('rows go into a table that the same transaction has altered', async () => {
  await one.query(`BEGIN; ALTER TABLE t ADD COLUMN y int DEFAULT 5; INSERT INTO t VALUES (2, 2, 2)`)
  expect(await code(one.query(`INSERT INTO t VALUES (1, 3, 3)`))).toBe('23505')
  await one.query(
    `ROLLBACK; BEGIN; ALTER TABLE t ADD COLUMN y int DEFAULT 5; INSERT INTO t(id) VALUES (2); COMMIT`,
  )
  await one.query(
    `BEGIN; ALTER TABLE t DROP COLUMN x; INSERT INTO t VALUES (3, 3); UPDATE t SET y = 6 WHERE id = 1; COMMIT`,
  )
  const { rows } = await two.query(`SELECT * FROM t ORDER BY id`)
  expect(rows).toEqual([
    { id: 1, y: 6 },
    { id: 2, y: 5 },
    { id: 3, y: 3 },
  ])
})

test('a migration that fails at its commit leaves the table as it was, for writers too', async () => {
  await one.query(
    `BEGIN; ALTER TABLE t ADD COLUMN y int; CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (2, 2, 2)`,
  )
  await two.query(`INSERT INTO t VALUES (2, 20)`)
  expect(await code(one.query(`COMMIT`))).toBe('23505')
  await two.query(`INSERT INTO t VALUES (3, 30)`)
  await one.query(`INSERT INTO t VALUES (4, 40)`)
  const { rows } = await one.query(`SELECT * FROM t ORDER BY id`)
  expect(rows.map(({ id, x }) => [id, x])).toEqual([
    [1, 1],
    [2, 20],
    [3, 30],
    [4, 40],
  ])
  expect(await code(one.query(`SELECT * FROM u`))).toBe('42P01')
  await one.query(
    `ALTER TABLE t ADD COLUMN y int DEFAULT 7; CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)`,
  )
  expect((await two.query(`SELECT y FROM t WHERE id = 2`)).rows).toEqual([{ y: 7 }])
})

test('a role that is called as our schema has its tables there', async () => {
  const url = new URL(server.url)
  url.username = 'elanus'
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  await client.query(
    `CREATE TABLE docs (id serial PRIMARY KEY, x int); INSERT INTO docs (x) VALUES (1), (2)`,
  )
  expect((await client.query(`SELECT sum(x)::int AS sum FROM docs`)).rows).toEqual([{ sum: 3 }])
  await client.query(`DROP TABLE docs`)
  await client.end()
})

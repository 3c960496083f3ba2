/** Rows and DDL of partitioned tables: what PostgreSQL validates over rows is validated over ours. */
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client

async function rows(sql: string): Promise<unknown[][]> {
  return (await client.query({ text: sql, rowMode: 'array' })).rows
}

async function refused(sql: string, code: string, message: RegExp): Promise<void> {
  await expect(client.query(sql)).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  })
}

beforeAll(async () => {
  server = await startServer()
  client = new pg.Client(server.url)
  await client.connect()
})

afterAll(async () => {
  await client.end()
  await server.stop()
})

test('rows of the default partition keep a partition for them from being made or attached', async () => {
  await client.query('CREATE TABLE q (id int, r text) PARTITION BY LIST (r)')
  await client.query('CREATE TABLE q_def PARTITION OF q DEFAULT')
  await client.query(`INSERT INTO q VALUES (1, 'x')`)
  const violated =
    /^updated partition constraint for default partition "q_def" would be violated by some row$/
  await refused(`CREATE TABLE q_x PARTITION OF q FOR VALUES IN ('x')`, '23514', violated)
  await client.query('CREATE TABLE q_x (id int, r text)')
  await client.query(`INSERT INTO q_x VALUES (7, 'x')`)
  await refused(`ALTER TABLE q ATTACH PARTITION q_x FOR VALUES IN ('x')`, '23514', violated)
  await client.query('DELETE FROM q WHERE id = 1')
  await client.query(`ALTER TABLE q ATTACH PARTITION q_x FOR VALUES IN ('x')`)
  expect(await rows('SELECT tableoid::regclass::text, id FROM q')).toEqual([['q_x', 7]])
})

test('ATTACH validates the rows of the new partition', async () => {
  await client.query('CREATE TABLE q_y (id int, r text)')
  await client.query(`INSERT INTO q_y VALUES (8, 'y'), (9, 'z')`)
  await refused(
    `ALTER TABLE q ATTACH PARTITION q_y FOR VALUES IN ('y')`,
    '23514',
    /^partition constraint of relation "q_y" is violated by some row$/,
  )
  await client.query(`DELETE FROM q_y WHERE r = 'z'`)
  await client.query(`ALTER TABLE q ATTACH PARTITION q_y FOR VALUES IN ('y')`)
  expect(await rows('SELECT id FROM q ORDER BY id')).toEqual([[7], [8]])
})

test('ALTER TABLE of the parent looks at, and rewrites, the rows of all partitions', async () => {
  await refused('ALTER TABLE q ADD CHECK (id < 8)', '23514', /is violated by some row$/)
  await client.query('INSERT INTO q VALUES (NULL, NULL)')
  await refused('ALTER TABLE q ALTER id SET NOT NULL', '23502', /contains null values$/)
  await client.query('DELETE FROM q WHERE id IS NULL')
  await client.query('ALTER TABLE q ALTER id TYPE text USING id::text || $$!$$')
  expect(await rows('SELECT id FROM q ORDER BY id')).toEqual([['7!'], ['8!']])
  await client.query(`INSERT INTO q VALUES ('8!', 'y')`)
  await refused('CREATE UNIQUE INDEX ON q (id, r)', '23505', /^could not create unique index/)
})

test('a partition that is detached keeps its rows, one that is dropped takes them along', async () => {
  await client.query('ALTER TABLE q DETACH PARTITION q_x')
  expect(await rows('SELECT id FROM q_x')).toEqual([['7!']])
  expect(await rows('SELECT count(*)::int FROM q')).toEqual([[2]])
  await client.query('DROP TABLE q_y')
  expect(await rows('SELECT count(*)::int FROM q')).toEqual([[0]])
})

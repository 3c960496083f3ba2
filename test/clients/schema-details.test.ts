/** What columns, keys and sequences are declared with, beyond the plain: as PostgreSQL's own regression tests have it. */
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client

beforeAll(async () => {
  server = await startServer()
  client = new pg.Client(server.url)
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await server.stop()
})

async function values(sql: string): Promise<unknown[][]> {
  return (await client.query({ text: sql, rowMode: 'array' })).rows as unknown[][]
}

async function codeOf(sql: string): Promise<string | undefined> {
  return await client.query(sql).then(
    () => 'not refused',
    (thrown: pg.DatabaseError) => thrown.code,
  )
}

test('a condition on a column that was added later, whose values have been read before', async () => {
  await client.query('CREATE TABLE added (a int)')
  await client.query('INSERT INTO added VALUES (1), (2)')
  await client.query('ALTER TABLE added ADD COLUMN b int8 DEFAULT 99')
  expect(await values('SELECT * FROM added ORDER BY a')).toEqual([
    [1, '99'],
    [2, '99'],
  ])
  expect(await values('SELECT a FROM added WHERE b = 99 ORDER BY a')).toEqual([[1], [2]])
  expect((await client.query('UPDATE added SET b = 1 WHERE b = 99 AND a = 1')).rowCount).toBe(1)
})

test('columns of domains, of rows of tables, of arrays of them', async () => {
  await client.query(`
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN day AS date;
    CREATE DOMAIN small AS positive CHECK (VALUE < 10);
    CREATE TABLE pair (a int, b text);
    CREATE TABLE typed (id int PRIMARY KEY, p positive, d day, s small, r pair, l small[])`)
  await client.query(
    `INSERT INTO typed VALUES (1, 5, '2026-01-02', 3, '(1,x)', '{1,2}'), (2, NULL, NULL, NULL, NULL, NULL)`,
  )
  expect(await codeOf('INSERT INTO typed (id, p) VALUES (3, -1)')).toBe('23514')
  expect(await codeOf('INSERT INTO typed (id, s) VALUES (3, 10)')).toBe('23514')
  expect(await values('SELECT p, d::text, s, r::text, l::text FROM typed ORDER BY id')).toEqual([
    [5, '2026-01-02', 3, '(1,x)', '{1,2}'],
    [null, null, null, null, null],
  ])
  expect(await values('SELECT * FROM typed WHERE id = 1')).toHaveLength(1)
  expect(await values(`SELECT id FROM typed WHERE p = 5 AND d > '2026-01-01' AND s < 4`)).toEqual([
    [1],
  ])
})

test('foreign keys between integers of different widths, numerics of different scales, MATCH FULL', async () => {
  await client.query(`
    CREATE TABLE wide (id bigint PRIMARY KEY); INSERT INTO wide VALUES (42);
    CREATE TABLE narrow (id int PRIMARY KEY); INSERT INTO narrow VALUES (42);
    CREATE TABLE price (id numeric PRIMARY KEY); INSERT INTO price VALUES (1.0);
    CREATE TABLE two (a int, b int, PRIMARY KEY (a, b)); INSERT INTO two VALUES (1, 2);
    CREATE TABLE to_wide (id int REFERENCES wide);
    CREATE TABLE to_narrow (id bigint REFERENCES narrow);
    CREATE TABLE to_price (id numeric REFERENCES price);
    CREATE TABLE to_two (a int, b int, FOREIGN KEY (a, b) REFERENCES two MATCH FULL)`)
  await client.query('INSERT INTO to_wide VALUES (42)')
  await client.query('INSERT INTO to_narrow VALUES (42)')
  await client.query('INSERT INTO to_price VALUES (1.000)')
  await client.query('INSERT INTO to_two VALUES (1, 2), (NULL, NULL)')
  expect(await codeOf('INSERT INTO to_wide VALUES (43)')).toBe('23503')
  expect(await codeOf('INSERT INTO to_narrow VALUES (43)')).toBe('23503')
  await expect(client.query('INSERT INTO to_narrow VALUES (5000000000)')).rejects.toMatchObject({
    code: '23503',
    detail: 'Key (id)=(5000000000) is not present in table "narrow".',
  })
  expect(await codeOf('INSERT INTO to_two VALUES (1, NULL)')).toBe('23503')
  expect(await codeOf('DELETE FROM wide')).toBe('23503')
  expect(await codeOf('DELETE FROM narrow')).toBe('23503')
})

test.each([
  ['one shard', ''],
  ['three shards', ' WITH (shards = 3)'],
])('a deferred foreign key may refer to what comes later, %s', async (_, options) => {
  await client.query('DROP TABLE IF EXISTS child, parent')
  await client.query(`
    CREATE TABLE parent (id bigint PRIMARY KEY, code text UNIQUE)${options};
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
      code text REFERENCES parent (code) DEFERRABLE INITIALLY DEFERRED)${options}`)
  const ids = Array.from({ length: 20 }, (_unused, i) => i)
  await client.query('BEGIN')
  for (const id of ids) await client.query(`INSERT INTO child VALUES (${id}, ${id}, 'c${id}')`)
  for (const id of ids) await client.query(`INSERT INTO parent VALUES (${id}, 'c${id}')`)
  await client.query('COMMIT')
  expect(await values('SELECT count(*) FROM child')).toEqual([['20']])
  await client.query('BEGIN')
  await client.query(`INSERT INTO child VALUES (100, 5, 'c6'), (101, 77, NULL)`)
  expect(await codeOf('COMMIT')).toBe('23503')
  expect(await codeOf(`INSERT INTO child VALUES (102, NULL, 'none')`)).toBe('23503')
  expect(await codeOf(`INSERT INTO child VALUES (103, 7, 'c8')`)).toBe('not refused')
  expect(await values('SELECT count(*) FROM child')).toEqual([['21']])
})

test('VALIDATE CONSTRAINT looks at the rows that are there, and at those they refer to', async () => {
  await client.query(`
    CREATE TABLE one (id int PRIMARY KEY);
    CREATE TABLE refers (id int); INSERT INTO refers VALUES (1)`)
  await client.query(
    'ALTER TABLE refers ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES one NOT VALID',
  )
  expect(await codeOf('ALTER TABLE refers VALIDATE CONSTRAINT f')).toBe('23503')
  await client.query('INSERT INTO one VALUES (1)')
  await client.query('ALTER TABLE refers VALIDATE CONSTRAINT f')
  await client.query('BEGIN')
  await client.query(
    'ALTER TABLE refers ADD CONSTRAINT g FOREIGN KEY (id) REFERENCES one NOT VALID',
  )
  await client.query('ALTER TABLE refers VALIDATE CONSTRAINT g')
  await client.query('COMMIT')
})

test('a unique index made CONCURRENTLY over rows is one', async () => {
  await client.query('CREATE TABLE heap (a text)')
  await client.query(`INSERT INTO heap VALUES ('x'), ('y')`)
  await client.query('CREATE UNIQUE INDEX CONCURRENTLY heap_a ON heap (a)')
  expect(await codeOf(`INSERT INTO heap VALUES ('x')`)).toBe('23505')
})

test('sequences start anew where they are told to', async () => {
  await client.query('CREATE TABLE numbered (id serial PRIMARY KEY, v int)')
  await client.query('CREATE TABLE identified (id int GENERATED ALWAYS AS IDENTITY, v int)')
  for (const table of ['numbered', 'identified'])
    await client.query(`INSERT INTO ${table} (v) VALUES (1), (2)`)
  await client.query('ALTER SEQUENCE numbered_id_seq RESTART WITH 100')
  await client.query('ALTER TABLE identified ALTER id RESTART WITH 200')
  expect(await values('INSERT INTO numbered (v) VALUES (3) RETURNING id')).toEqual([[100]])
  expect(await values('INSERT INTO identified (v) VALUES (3) RETURNING id')).toEqual([[200]])
  await client.query('CREATE SEQUENCE s START 7')
  expect(await values(`SELECT nextval('s')`)).toEqual([['7']])
  await client.query('ALTER SEQUENCE s RESTART')
  expect(await values(`SELECT nextval('s')`)).toEqual([['7']])
  await client.query(
    'ALTER SEQUENCE s START -24 RESTART WITH -24 INCREMENT BY -4 MINVALUE -36 MAXVALUE -5 CYCLE',
  )
  const given: unknown[] = []
  for (let i = 0; i < 5; i += 1) given.push((await values(`SELECT nextval('s')`))[0]?.[0])
  expect(given).toEqual(['-24', '-28', '-32', '-36', '-5'])
})

test('a sum that overflows is out of range', async () => {
  await client.query('CREATE TABLE large (x float8, y float4)')
  await client.query(`INSERT INTO large VALUES (1e308, 3e38), (1e308, 3e38)`)
  expect(await codeOf('SELECT sum(x) FROM large')).toBe('22003')
  expect(await codeOf('SELECT sum(y) FROM large')).toBe('22003')
})

test('CREATE TABLE AS … WITH DATA; what is not kept is refused', async () => {
  await client.query('CREATE TABLE made (a) AS SELECT generate_series(1, 3) WITH DATA')
  expect(await values('SELECT count(*) FROM made')).toEqual([['3']])
  for (const sql of [
    'CREATE RULE r AS ON INSERT TO made DO INSTEAD NOTHING',
    'CREATE TABLE apart (a int4range, EXCLUDE USING gist (a WITH &&))',
    'ALTER DOMAIN positive ADD CHECK (VALUE < 3)',
  ])
    expect(await codeOf(sql)).toBe('0A000')
  await client.query(
    `CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
  )
  expect(
    await codeOf(
      'CREATE TRIGGER t BEFORE TRUNCATE ON made FOR EACH STATEMENT EXECUTE FUNCTION nothing()',
    ),
  ).toBe('0A000')
})

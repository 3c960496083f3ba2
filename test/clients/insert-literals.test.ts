/**
 * INSERT with its values in the text, as psycopg2 and psql send it: what is read without the grammar ends as what PostgreSQL
 * makes of the same text (a comment in it keeps it from being read so): rows, or error, words and position.
 */
import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client
const columns = `id bigserial, a int, b bigint, c smallint, d text, e varchar(4), f float8, g boolean, h vector(3), i date,
  j uuid DEFAULT '00000000-0000-0000-0000-000000000001', k numeric, l float4`

beforeAll(async () => {
  server = await startServer()
  client = new pg.Client(server.url)
  await client.connect()
  await client.query('CREATE EXTENSION vector')
  await client.query(`CREATE TABLE read (${columns}); CREATE TABLE judged (${columns})`)
  await client.query('CREATE TABLE keyed (id int PRIMARY KEY, n int NOT NULL, e vector(2))')
})

afterAll(async () => {
  await client.end()
  await server.stop()
})

interface Outcome {
  readonly rows?: unknown
  readonly error?: unknown
}

async function run(sql: string): Promise<Outcome> {
  try {
    const { rows, rowCount } = await client.query(sql)
    return { rows: [rowCount, rows] }
  } catch (error) {
    const { code, message, position, detail } = error as pg.DatabaseError
    return { error: { code, message, position: Number(position ?? 0), detail } }
  }
}

const q = (text: string): string => `'${text.replaceAll("'", "''")}'`
const integers = fc
  .oneof(fc.integer(), fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }))
  .map(String)
const decimals = fc.tuple(fc.integer(), fc.nat(999)).map(([a, b]) => `${a}.${b}`)
const vectors = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 3, maxLength: 3 })
      .map((v) => q(`[${v.join()}]`)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "'[1,2]'",
      "'[1,2,nan]'",
      "'[1e39,0,0]'",
      "'1,2,3'",
      "'[ 1 ,2, 3 ]'",
      "'[1,2,3]'::vector",
      "'{1,2,3}'",
    ),
  },
)
const texts = fc.oneof(
  fc
    .string({ maxLength: 6 })
    .filter((text) => !text.includes('\\'))
    .map(q),
  fc.constantFrom("'it''s'", "'aé✓😀'", "'abcd  '", "'x'::text", "'x'::varchar"),
)
const byColumn: Readonly<Record<string, fc.Arbitrary<string>>> = {
  a: fc.oneof(
    fc.integer().map(String),
    integers,
    fc.integer().map((n) => q(String(n))),
    fc.constantFrom("' 7 '", "'x'", '1.5', "'1_0'", 'true'),
  ),
  b: fc.oneof(integers, integers.map(q)),
  c: fc.oneof(fc.integer({ min: -40_000, max: 40_000 }).map(String), fc.constant("'0x1f'")),
  d: fc.oneof(texts, fc.constantFrom('1', 'true', 'NULL::text')),
  e: texts,
  f: fc.oneof(
    decimals,
    integers,
    fc.double().map((n) => q(String(n))),
    fc.constantFrom("'1e400'", "'nan'", "'-inf'", "'0x10'"),
  ),
  g: fc.constantFrom('true', 'FALSE', "'yes'", "'of'", "'x'", '1'),
  h: vectors,
  i: fc.constantFrom("'2026-01-31'", "'2026-02-31'", "'infinity'", "'today'", "'Jan 5 2026'"),
  j: fc.constantFrom('DEFAULT', q('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), "'x'"),
  k: fc.oneof(decimals, integers),
  l: fc.oneof(decimals, decimals.map(q), integers),
}

const statements = fc
  .subarray(Object.keys(byColumn), { minLength: 1, maxLength: 4 })
  .chain((names) => {
    const row = fc.tuple(
      ...names.map((name) =>
        fc.oneof(
          { weight: 8, arbitrary: byColumn[name] ?? fc.constant('1') },
          { weight: 1, arbitrary: fc.constant('NULL') },
        ),
      ),
    )
    return fc.record({
      names: fc.constant(names),
      rows: fc.array(row, { minLength: 1, maxLength: 3 }),
      returning: fc.constantFrom('', ' RETURNING id, d', ' RETURNING *'),
    })
  })
  .map(({ names, rows, returning }) => (table: string, comment: string) => {
    const lists = rows.map((row) => `(${row.join(', ')})`).join(', ')
    return `${comment}INSERT INTO ${table} (${names.join(', ')}) VALUES ${lists}${returning}`
  })

test('rows and errors are those of PostgreSQL', { timeout: 300_000 }, async () => {
  let inserted = 0
  let refused = 0
  await fc.assert(
    fc.asyncProperty(statements, async (make) => {
      await client.query('TRUNCATE read, judged RESTART IDENTITY')
      // The same length: positions agree.
      const read = await run(make('read  ', '    '))
      const judged = await run(make('judged', '/**/'))
      expect(read).toEqual(judged)
      if (read.error === undefined) inserted += 1
      else refused += 1
      const rows = (table: string) => client.query(`SELECT * FROM ${table} ORDER BY id`)
      const { rows: found } = await rows('read')
      const { rows: wanted } = await rows('judged')
      expect(JSON.stringify(found)).toBe(JSON.stringify(wanted))
    }),
    { numRuns: 100 },
  )
  expect(inserted).toBeGreaterThan(10)
  expect(refused).toBeGreaterThan(10)
})

test('keys, NOT NULL, transactions and privileges hold', async () => {
  expect(await run("INSERT INTO keyed VALUES (1, 1, '[1,2]'), (2, 2, NULL)")).toMatchObject({
    rows: [2, []],
  })
  expect(await run("INSERT INTO keyed VALUES (3, 1, '[1,2]'), (2, 2, NULL)")).toMatchObject({
    error: { code: '23505', detail: 'Key (id)=(2) already exists.' },
  })
  expect(await run('INSERT INTO keyed VALUES (4, NULL)')).toMatchObject({
    error: { code: '23502' },
  })
  await client.query('BEGIN')
  await client.query('ALTER TABLE keyed ADD m int DEFAULT 5')
  await client.query("INSERT INTO keyed VALUES (5, 1, '[3,4]')")
  expect(await run('SELECT id, m FROM keyed WHERE id IN (1, 5) ORDER BY id')).toEqual({
    rows: [
      2,
      [
        { id: 1, m: 5 },
        { id: 5, m: 5 },
      ],
    ],
  })
  await client.query('ROLLBACK')
  await client.query('CREATE ROLE reader LOGIN; GRANT SELECT ON keyed TO reader')
  const reader = new pg.Client({
    host: server.host,
    port: server.port,
    user: 'reader',
    database: 'postgres',
  })
  await reader.connect()
  await expect(reader.query('INSERT INTO keyed VALUES (6, 1)')).rejects.toMatchObject({
    code: '42501',
  })
  await client.query('GRANT INSERT ON keyed TO reader')
  await reader.query("INSERT INTO keyed VALUES (6, 1, '[1,1]')")
  await reader.end()
  expect(await run('SELECT id FROM keyed ORDER BY id')).toEqual({
    rows: [3, [{ id: 1 }, { id: 2 }, { id: 6 }]],
  })
})

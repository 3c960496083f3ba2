/** node-postgres: what the driver and its companions do on the wire, over a real server. */
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import { SparseVector } from 'pgvector'
import pgvector from 'pgvector/pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client

async function connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: server.url, ...options })
  await connected.connect()
  return connected
}

async function failure(work: Promise<unknown>): Promise<pg.DatabaseError> {
  try {
    await work
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error
    throw error
  }
  throw new Error('it did not fail')
}

beforeAll(async () => {
  server = await startServer()
  client = await connect()
  await client.query(`
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE items (
      id bigserial PRIMARY KEY,
      name text NOT NULL UNIQUE,
      price numeric(10, 2) CHECK (price >= 0),
      made timestamptz DEFAULT '2026-01-02 03:04:05+00',
      tags text[],
      meta jsonb,
      embedding vector(3));`)
  await client.end()
})

afterAll(() => server.stop())

beforeEach(async () => {
  client = await connect()
  await client.query('TRUNCATE items RESTART IDENTITY')
  await client.query(`INSERT INTO items (name, price, tags, meta, embedding) VALUES
    ('apple', 1.5, '{red,round}', '{"n": 1}', '[1,2,3]'),
    ('pear', 2.25, NULL, NULL, '[4,5,6]'),
    ('plum', NULL, '{}', '[1]', NULL)`)
})

afterEach(() => client.end())

test('simple queries give rows, tags and types', async () => {
  const { rows, rowCount, command } = await client.query('SELECT * FROM items ORDER BY id')
  expect(command).toBe('SELECT')
  expect(rowCount).toBe(3)
  expect(rows[0]).toEqual({
    id: '1',
    name: 'apple',
    price: '1.50',
    made: new Date('2026-01-02T03:04:05Z'),
    tags: ['red', 'round'],
    meta: { n: 1 },
    embedding: '[1,2,3]',
  })
  expect(rows[2]).toMatchObject({ price: null, tags: [], meta: [1], embedding: null })
})

test('several statements in one string give several results and are one transaction', async () => {
  const results = (await client.query(
    "SELECT 1 AS a; INSERT INTO items (name) VALUES ('fig'); SELECT count(*)::int AS n FROM items",
  )) as unknown as pg.QueryResult[]
  expect(results.map((result) => result.command)).toEqual(['SELECT', 'INSERT', 'SELECT'])
  expect(results[2]?.rows).toEqual([{ n: 4 }])
  await failure(client.query("INSERT INTO items (name) VALUES ('lost'); SELECT 1 / 0"))
  const { rows } = await client.query("SELECT 1 FROM items WHERE name = 'lost'")
  expect(rows).toEqual([])
})

test('the empty query', async () => {
  const { rows, rowCount } = await client.query('')
  expect(rows).toEqual([])
  expect(rowCount).toBeNull()
  expect((await client.query({ text: '', values: [] })).rows).toEqual([])
})

test('parameters without types: they are inferred', async () => {
  const { rows } = await client.query(
    'SELECT name, embedding <-> $1 AS d FROM items WHERE price < $2 ORDER BY embedding <-> $1 LIMIT $3',
    ['[1,2,4]', 2.5, 1],
  )
  expect(rows).toEqual([{ name: 'apple', d: 1 }])
  const found = await client.query(
    'SELECT name FROM items WHERE id = ANY($1) AND made > $2 AND meta @> $3',
    [[1, 2], new Date('2020-01-01'), { n: 1 }],
  )
  expect(found.rows).toEqual([{ name: 'apple' }])
  const scalar = await client.query(
    'SELECT $1::int + 1 AS n, $2::text AS t, $3::bool AS b, $4::bytea AS y',
    [41, 'ü', true, Buffer.from([0, 255])],
  )
  expect(scalar.rows).toEqual([{ n: 42, t: 'ü', b: true, y: Buffer.from([0, 255]) }])
})

test('INSERT, UPDATE, DELETE with parameters and RETURNING', async () => {
  const inserted = await client.query(
    'INSERT INTO items (name, price, tags, meta, embedding) VALUES ($1, $2, $3, $4, $5) RETURNING id, tags, embedding',
    ['kiwi', '3.1', ['a', 'b c'], { deep: { er: [1, null] } }, '[7,8,9]'],
  )
  expect(inserted.rows).toEqual([{ id: '4', tags: ['a', 'b c'], embedding: '[7,8,9]' }])
  const updated = await client.query(
    'UPDATE items SET price = price + $1 WHERE name = $2 RETURNING price',
    [1, 'kiwi'],
  )
  expect(updated.rowCount).toBe(1)
  expect(updated.rows).toEqual([{ price: '4.10' }])
  const upserted = await client.query(
    `INSERT INTO items (name, price) VALUES ($1, $2)
       ON CONFLICT (name) DO UPDATE SET price = EXCLUDED.price RETURNING id, price`,
    ['kiwi', 9],
  )
  expect(upserted.rows).toEqual([{ id: '4', price: '9.00' }])
  expect((await client.query('DELETE FROM items WHERE id = $1', [4])).rowCount).toBe(1)
  expect((await client.query('DELETE FROM items WHERE id = $1', [4])).rowCount).toBe(0)
})

test('named prepared statements are parsed once and outlive schema changes of others', async () => {
  const statement = { name: 'by-name', text: 'SELECT price FROM items WHERE name = $1' }
  for (const [name, price] of [
    ['apple', '1.50'],
    ['pear', '2.25'],
    ['plum', null],
  ]) {
    expect((await client.query({ ...statement, values: [name] })).rows).toEqual([{ price }])
  }
  await client.query('CREATE TABLE unrelated (a int); DROP TABLE unrelated')
  expect((await client.query({ ...statement, values: ['pear'] })).rows).toEqual([{ price: '2.25' }])
})

// node-postgres reads every value as UTF-8, so that only bytes below 128 survive its binary mode: the other drivers'
// suites look at the other types.
test('binary results', async () => {
  // @types/pg does not know of `binary`.
  const config: pg.QueryConfig & { readonly binary: true } = {
    text: 'SELECT id, name, 7::int2 AS two, 8::int4 AS four, 2::float8 AS eight, true AS yes, NULL::int4 AS none FROM items WHERE id = $1',
    values: [1],
    binary: true,
  }
  const { rows } = await client.query(config)
  expect(rows).toEqual([
    { id: '1', name: 'apple', two: 7, four: 8, eight: 2, yes: true, none: null },
  ])
})

test('transactions: commit, rollback, savepoints, the failed state', async () => {
  const count = async (by: pg.Client): Promise<number> =>
    Number((await by.query('SELECT count(*) FROM items')).rows[0]?.count)
  const other = await connect()
  await client.query('BEGIN')
  await client.query("INSERT INTO items (name) VALUES ('a')")
  expect(await count(client)).toBe(4)
  expect(await count(other)).toBe(3)
  await client.query('SAVEPOINT s')
  await client.query("INSERT INTO items (name) VALUES ('b')")
  expect((await failure(client.query("INSERT INTO items (name) VALUES ('a')"))).code).toBe('23505')
  expect((await failure(client.query('SELECT 1'))).code).toBe('25P02')
  await client.query('ROLLBACK TO s')
  expect(await count(client)).toBe(4)
  await client.query('RELEASE s')
  await client.query('COMMIT')
  expect(await count(other)).toBe(4)
  await client.query('BEGIN')
  await client.query('DELETE FROM items')
  await failure(client.query('SELECT nothing'))
  expect((await client.query('COMMIT')).command).toBe('ROLLBACK')
  expect(await count(other)).toBe(4)
  await other.end()
})

test('DDL in a transaction is rolled back with it', async () => {
  await client.query('BEGIN')
  await client.query('CREATE TABLE later (id int PRIMARY KEY)')
  await client.query('INSERT INTO later VALUES (1)')
  expect((await client.query('SELECT * FROM later')).rows).toEqual([{ id: 1 }])
  await client.query('ALTER TABLE items ADD COLUMN extra int')
  await client.query('ROLLBACK')
  expect((await failure(client.query('SELECT * FROM later'))).code).toBe('42P01')
  expect((await failure(client.query('SELECT extra FROM items'))).code).toBe('42703')
})

test('writers of one row: the second waits, then sees the first', async () => {
  const other = await connect()
  await client.query('BEGIN')
  await client.query("UPDATE items SET price = 10 WHERE name = 'apple'")
  let over = false
  const second = other
    .query("UPDATE items SET price = price + 1 WHERE name = 'apple' RETURNING price")
    .finally(() => {
      over = true
    })
  await pause(200)
  expect(over).toBe(false)
  await client.query('COMMIT')
  expect((await second).rows).toEqual([{ price: '11.00' }])
  await other.end()
})

test('COPY in and out: text, csv', async () => {
  const text = 'x\t1.25\t[1,1,1]\ny\t\\N\t\\N\n'
  await pipeline(
    Readable.from([text]),
    client.query(copyFrom('COPY items (name, price, embedding) FROM STDIN')),
  )
  const csv = 'name,price\n"a ""quoted"", one",4\nz,\n'
  const stream = client.query(copyFrom('COPY items (name, price) FROM STDIN (FORMAT csv, HEADER)'))
  await pipeline(Readable.from([csv]), stream)
  expect(stream.rowCount).toBe(2)
  const out = await read(
    'COPY (SELECT name, price, embedding FROM items WHERE id > 3 ORDER BY id) TO STDOUT',
  )
  expect(out.toString()).toBe(
    'x\t1.25\t[1,1,1]\ny\t\\N\t\\N\na "quoted", one\t4.00\t\\N\nz\t\\N\t\\N\n',
  )
  const asCsv = await read(
    'COPY (SELECT name, price FROM items WHERE id > 5 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)',
  )
  expect(asCsv.toString()).toBe('name,price\n"a ""quoted"", one",4.00\nz,\n')
})

test('COPY binary: what came out goes in', async () => {
  const bytes = await read(
    'COPY (SELECT id + 100, name || $$2$$, price, embedding FROM items) TO STDOUT (FORMAT binary)',
  )
  expect(bytes.subarray(0, 11).toString('latin1')).toBe('PGCOPY\n\xff\r\n\0')
  await pipeline(
    Readable.from([bytes]),
    client.query(copyFrom('COPY items (id, name, price, embedding) FROM STDIN (FORMAT binary)')),
  )
  const { rows } = await client.query(
    'SELECT name, price, embedding FROM items WHERE id > 100 ORDER BY id',
  )
  expect(rows).toEqual([
    { name: 'apple2', price: '1.50', embedding: '[1,2,3]' },
    { name: 'pear2', price: '2.25', embedding: '[4,5,6]' },
    { name: 'plum2', price: null, embedding: null },
  ])
})

test('COPY of thousands of rows; a bad row leaves nothing behind', async () => {
  const lines = Array.from({ length: 5000 }, (_, i) => `n${i}\t[${i},0,1]\n`)
  await pipeline(
    Readable.from(lines),
    client.query(copyFrom('COPY items (name, embedding) FROM STDIN')),
  )
  expect((await client.query('SELECT count(*)::int AS n FROM items')).rows).toEqual([{ n: 5003 }])
  const near = await client.query('SELECT name FROM items ORDER BY embedding <-> $1 LIMIT 2', [
    '[4000,0,1.1]',
  ])
  expect(near.rows[0]).toEqual({ name: 'n4000' })
  const error = await failure(
    pipeline(
      Readable.from(['bad1\t[1,2,3]\nbad2\t[1,2]\n']),
      client.query(copyFrom('COPY items (name, embedding) FROM STDIN')),
    ),
  )
  expect(error.code).toBe('22000')
  expect(error.message).toBe('expected 3 dimensions, not 2')
  expect(error.where).toMatch(/^COPY items, line 2, column embedding/)
  expect((await client.query("SELECT 1 FROM items WHERE name = 'bad1'")).rows).toEqual([])
})

test('cursors read in pieces', async () => {
  await client.query("INSERT INTO items (name) SELECT 'c' || i FROM generate_series(1, 97) i")
  const cursor = client.query(new Cursor('SELECT id FROM items WHERE id > $1 ORDER BY id', [0]))
  const sizes: number[] = []
  for (;;) {
    const rows = await cursor.read(40)
    sizes.push(rows.length)
    if (rows.length === 0) break
  }
  expect(sizes).toEqual([40, 40, 20, 0])
  await cursor.close()
  const early = client.query(new Cursor('SELECT id FROM items ORDER BY id'))
  expect(await early.read(1)).toEqual([{ id: '1' }])
  await early.close()
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
})

test('cursors in SQL', async () => {
  await client.query('BEGIN')
  await client.query('DECLARE c NO SCROLL CURSOR FOR SELECT name FROM items ORDER BY id')
  expect((await client.query('FETCH 2 FROM c')).rows).toEqual([{ name: 'apple' }, { name: 'pear' }])
  expect((await client.query('FETCH FORWARD ALL FROM c')).rows).toEqual([{ name: 'plum' }])
  await client.query('CLOSE c')
  await client.query('COMMIT')
  await client.query('DECLARE h CURSOR WITH HOLD FOR SELECT name FROM items ORDER BY id')
  await client.query("DELETE FROM items WHERE name = 'pear'")
  expect((await client.query('FETCH ALL h')).rows).toHaveLength(3)
  await client.query('CLOSE h')
})

test('LISTEN and NOTIFY', async () => {
  const other = await connect()
  await client.query('LISTEN "Some Channel"')
  const notified = once(client, 'notification')
  await other.query('BEGIN; NOTIFY "Some Channel", \'a\'; ROLLBACK')
  await other.query('SELECT pg_notify($1, $2)', ['Some Channel', 'payload'])
  const [message] = (await notified) as [pg.Notification]
  expect(message).toMatchObject({ channel: 'Some Channel', payload: 'payload' })
  await client.query('UNLISTEN *')
  await other.end()
})

test('a cancel request ends the statement, not the connection', async () => {
  const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
  const { processID: pid } = keyOf(client)
  expect(rows[0]?.pid).toBe(pid)
  const sleeping = failure(client.query('SELECT pg_sleep(20)'))
  await pause(300)
  await cancel(client)
  const error = await sleeping
  expect(error.code).toBe('57014')
  expect(error.message).toBe('canceling statement due to user request')
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
})

test('pg_cancel_backend and pg_terminate_backend', async () => {
  const victim = await connect()
  victim.on('error', () => {})
  const { processID: pid } = keyOf(victim)
  const sleeping = failure(victim.query('SELECT pg_sleep(20)'))
  await pause(300)
  expect((await client.query('SELECT pg_cancel_backend($1) AS done', [pid])).rows).toEqual([
    { done: true },
  ])
  expect((await sleeping).code).toBe('57014')
  const active = await client.query(
    'SELECT pid, state, query FROM pg_stat_activity WHERE pid IN ($1, pg_backend_pid())',
    [pid],
  )
  expect(active.rows).toHaveLength(2)
  expect(active.rows.find((row) => row.pid === pid)).toEqual({
    pid,
    state: 'idle',
    query: 'SELECT pg_sleep(20)',
  })
  const ended = new Promise((resolve) => victim.once('end', resolve))
  expect((await client.query('SELECT pg_terminate_backend($1) AS done', [pid])).rows).toEqual([
    { done: true },
  ])
  await ended
})

test('statement_timeout, also as a connection option', async () => {
  await client.query("SET statement_timeout = '200ms'")
  const error = await failure(client.query('SELECT pg_sleep(20)'))
  expect(error.code).toBe('57014')
  expect(error.message).toBe('canceling statement due to statement timeout')
  const other = await connect({ statement_timeout: 150, application_name: 'walk' })
  expect((await failure(other.query('SELECT pg_sleep(20)'))).code).toBe('57014')
  expect((await other.query('SHOW application_name')).rows).toEqual([{ application_name: 'walk' }])
  expect((await other.query('SHOW statement_timeout')).rows).toEqual([
    { statement_timeout: '150ms' },
  ])
  await other.end()
})

test('errors carry the fields clients read', async () => {
  expect(await failure(client.query("INSERT INTO items (name) VALUES ('apple')"))).toMatchObject({
    severity: 'ERROR',
    code: '23505',
    message: 'duplicate key value violates unique constraint "items_name_key"',
    detail: 'Key (name)=(apple) already exists.',
    schema: 'public',
    table: 'items',
    constraint: 'items_name_key',
  })
  expect(await failure(client.query('INSERT INTO items (price) VALUES (1)'))).toMatchObject({
    code: '23502',
    message: 'null value in column "name" of relation "items" violates not-null constraint',
    table: 'items',
    column: 'name',
  })
  expect(
    await failure(client.query("INSERT INTO items (name, price) VALUES ('n', -1)")),
  ).toMatchObject({
    code: '23514',
    constraint: 'items_price_check',
  })
  expect(await failure(client.query('SELECT id, nope FROM items'))).toMatchObject({
    code: '42703',
    position: '12',
  })
  expect(await failure(client.query('SELEC 1'))).toMatchObject({ code: '42601', position: '1' })
  expect(await failure(client.query('SELECT * FROM missing'))).toMatchObject({
    code: '42P01',
    position: '15',
  })
  expect(await failure(client.query('SELECT $1::int', ['x']))).toMatchObject({ code: '22P02' })
  expect(
    await failure(client.query("INSERT INTO items (name, embedding) VALUES ('w', '[1,2]')")),
  ).toMatchObject({
    code: '22000',
    message: 'expected 3 dimensions, not 2',
  })
  expect(
    await failure(
      client.query('INSERT INTO items (name, embedding) VALUES ($1, $2)', ['w', '[1,2]']),
    ),
  ).toMatchObject({
    code: '22000',
    message: 'expected 3 dimensions, not 2',
  })
  expect(await failure(client.query('SELECT 1 / $1::int', [0]))).toMatchObject({ code: '22012' })
})

test('a pool', async () => {
  const pool = new pg.Pool({ connectionString: server.url, max: 4 })
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      pool.query('SELECT $1::int AS i, count(*)::int AS n FROM items', [i]),
    ),
  )
  expect(results.map((result) => result.rows[0])).toEqual(
    Array.from({ length: 20 }, (_, i) => ({ i, n: 3 })),
  )
  await pool.end()
})

test('queries sent without waiting are answered in order', async () => {
  const answers = await Promise.allSettled([
    client.query('SELECT 1 AS n'),
    client.query('INSERT INTO items (name) VALUES ($1)', ['p']),
    client.query('SELECT 1 / 0'),
    client.query('SELECT count(*)::int AS n FROM items'),
    client.query({ name: 'last', text: 'SELECT $1::text AS n', values: ['x'] }),
  ])
  expect(
    answers.map((answer) =>
      answer.status === 'fulfilled' ? (answer.value.rows[0]?.n ?? null) : 'failed',
    ),
  ).toEqual([1, null, 'failed', 4, 'x'])
})

test('notices and settings', async () => {
  const notices: string[] = []
  client.on('notice', (notice) => notices.push(notice.message ?? ''))
  await client.query('CREATE TABLE IF NOT EXISTS items (id int)')
  await client.query('DROP TABLE IF EXISTS never_was')
  expect(notices).toEqual([
    'relation "items" already exists, skipping',
    'table "never_was" does not exist, skipping',
  ])
  await client.query('SET client_min_messages TO warning')
  await client.query('DROP TABLE IF EXISTS never_was')
  expect(notices).toHaveLength(2)
  await client.query("SET TIME ZONE 'Europe/Berlin'")
  expect((await client.query('SELECT made::text AS made FROM items WHERE id = 1')).rows).toEqual([
    { made: '2026-01-02 04:04:05+01' },
  ])
  await client.query('RESET ALL')
  await client.query('DISCARD ALL')
})

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function keyOf(of: pg.Client): { readonly processID: number; readonly secretKey: number } {
  return of as unknown as { processID: number; secretKey: number }
}

/** As libpq's PQcancel: a connection of its own, answered by nothing but its end. */
async function cancel(of: pg.Client): Promise<void> {
  const { processID, secretKey } = keyOf(of)
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(80877102, 4)
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  const socket = createConnection(server.port, server.host)
  socket.end(request)
  await once(socket.resume(), 'close')
}

/** All a COPY … TO STDOUT sends. */
async function read(sql: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of client.query(copyTo(sql))) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('the README of pgvector-node', async () => {
  await client.query('DROP TABLE IF EXISTS items_of_readme')
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await pgvector.registerTypes(client)
  await client.query(
    'CREATE TABLE items_of_readme (id bigserial PRIMARY KEY, embedding vector(3), half halfvec(3), sparse sparsevec(3))',
  )
  await client.query('INSERT INTO items_of_readme (embedding, half, sparse) VALUES ($1, $2, $3)', [
    pgvector.toSql([1, 2, 3]),
    pgvector.toSql([1, 2, 3]),
    pgvector.toSql(new SparseVector({ 0: 1, 2: 3 }, 3)),
  ])
  const search = 'SELECT * FROM items_of_readme ORDER BY embedding <-> $1 LIMIT 5'
  const { rows } = await client.query(search, [pgvector.toSql([1, 2, 3])])
  expect(rows).toMatchObject([{ id: '1', embedding: [1, 2, 3], half: [1, 2, 3] }])
  expect(rows[0]?.sparse.toArray()).toEqual([1, 0, 3])
  await client.query('CREATE INDEX ON items_of_readme USING hnsw (embedding vector_l2_ops)')
  await client.query(
    'CREATE INDEX ON items_of_readme USING ivfflat (embedding vector_l2_ops) WITH (lists = 100)',
  )
  expect((await client.query(search, [pgvector.toSql([3, 1, 2])])).rows).toHaveLength(1)
})

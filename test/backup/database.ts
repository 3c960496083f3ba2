/** A database with a bit of everything that a backup must bring back, and questions that tell two of them apart. */
import pg from 'pg'

export const dimensions = 16
export const rowCount = 1500

export async function connect(port: number, user = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port, user, database: 'postgres' })
  // The server may end while it waits.
  client.on('error', () => {})
  await client.connect()
  return client
}

export function vectorOf(id: number): number[] {
  return Array.from({ length: dimensions }, (_, j) => Math.sin(id * 12.9898 + j * 78.233) * 10)
}

const statements = [
  'CREATE EXTENSION IF NOT EXISTS vector',
  "CREATE ROLE reader LOGIN PASSWORD 'secret'",
  'CREATE SCHEMA shop',
  "CREATE TYPE mood AS ENUM ('sad', 'ok')",
  "ALTER TYPE mood ADD VALUE 'happy'",
  'CREATE TABLE gone (a int)',
  'DROP TABLE gone',
  `CREATE TABLE shop.docs (id bigserial PRIMARY KEY, dropped int, title text UNIQUE,
     m mood DEFAULT 'happy', e vector(${dimensions})) WITH (shards = 3)`,
  'ALTER TABLE shop.docs DROP COLUMN dropped',
]

const later = [
  'ALTER TABLE shop.docs ADD COLUMN added int DEFAULT 42',
  'DELETE FROM shop.docs WHERE id % 10 = 0',
  "UPDATE shop.docs SET title = title || 'x', added = 43 WHERE id % 7 = 0",
  `CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, doc bigint REFERENCES shop.docs,
     at timestamptz, note jsonb)`,
  `INSERT INTO orders (doc, at, note)
     SELECT id, '2026-01-01', jsonb_build_object('id', id) FROM shop.docs WHERE id < 50`,
  'CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k)',
  'CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)',
  'CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20)',
  "INSERT INTO parts SELECT i, 'v' || i FROM generate_series(0, 19) i",
  "CREATE TABLE events (at timestamptz, n int) WITH (ttl = '1 day', ttl_column = 'at')",
  'INSERT INTO events SELECT now(), i FROM generate_series(1, 5) i',
  'CREATE TABLE emptied (a int)',
  'INSERT INTO emptied SELECT generate_series(1, 100)',
  'TRUNCATE emptied',
  'INSERT INTO emptied VALUES (7)',
  'CREATE VIEW titles AS SELECT id, title FROM shop.docs',
  'GRANT SELECT ON orders TO reader',
]

export async function fill(client: pg.Client): Promise<void> {
  for (const sql of statements) await client.query(sql)
  await insertDocs(client, 1, rowCount)
  await client.query('CREATE INDEX docs_e ON shop.docs USING hnsw (e vector_l2_ops)')
  for (const sql of later) await client.query(sql)
}

export async function insertDocs(client: pg.Client, from: number, count: number): Promise<void> {
  const rows = Array.from(
    { length: count },
    (_, i) => `('t${from + i}', '[${vectorOf(from + i)}]')`,
  )
  for (let at = 0; at < rows.length; at += 500) {
    await client.query(
      `INSERT INTO shop.docs (title, e) VALUES ${rows.slice(at, at + 500).join(', ')}`,
    )
  }
}

const questions = [
  'SELECT * FROM shop.docs ORDER BY id',
  'SELECT * FROM orders ORDER BY id',
  'SELECT * FROM parts ORDER BY k',
  'SELECT * FROM parts_high ORDER BY k',
  'SELECT * FROM events ORDER BY n',
  'SELECT * FROM emptied',
  'SELECT count(*), max(title) FROM titles',
  `SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE connamespace IN ('public'::regnamespace, 'shop'::regnamespace)
       AND conname NOT LIKE 'was_here%' ORDER BY 1, 2`,
  `SELECT schemaname, indexname, indexdef FROM pg_indexes
     WHERE schemaname IN ('public', 'shop') AND tablename <> 'was_here' ORDER BY 1, 2`,
  "SELECT relname, relacl::text FROM pg_class WHERE relname = 'orders'",
  "SELECT relname, reloptions FROM pg_class WHERE relname IN ('docs', 'events') ORDER BY 1",
  "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname LIKE 'parts_%' ORDER BY 1",
  "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = 'reader'",
]

/** Equal for equal databases, row for row. */
export async function everything(client: pg.Client): Promise<readonly unknown[]> {
  const answers: unknown[] = []
  for (const sql of questions) answers.push({ sql, rows: (await client.query(sql)).rows })
  return answers
}

/** Share of the nearest ten that the index finds, over some queries. */
export async function recall(client: pg.Client): Promise<number> {
  let found = 0
  let wanted = 0
  for (let q = 0; q < 20; q += 1) {
    const nearest = async (): Promise<number[]> => {
      const { rows } = await client.query<{ id: string }>(
        'SELECT id FROM shop.docs ORDER BY e <-> $1::vector LIMIT 10',
        [`[${vectorOf(q * 97 + 0.5)}]`],
      )
      return rows.map(({ id }) => Number(id))
    }
    await client.query('SET enable_indexscan = off')
    const exact = new Set(await nearest())
    await client.query('RESET enable_indexscan')
    found += (await nearest()).filter((id) => exact.has(id)).length
    wanted += exact.size
  }
  return found / wanted
}

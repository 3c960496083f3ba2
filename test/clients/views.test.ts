/** What clients learn about sizes, counts and the state of things: always true, without ANALYZE. */
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

let server: TestServer
let client: pg.Client

async function rows(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  return (await client.query(sql, values)).rows
}

async function row(sql: string, values: unknown[] = []): Promise<Record<string, unknown>> {
  const [first] = await rows(sql, values)
  if (first === undefined) throw new Error(`no row: ${sql}`)
  return first
}

beforeAll(async () => {
  server = await startServer()
  client = new pg.Client(server.url)
  await client.connect()
  await client.query('CREATE EXTENSION vector')
  await client.query(
    'CREATE TABLE docs (id int PRIMARY KEY, note text, e vector(4)) WITH (shards = 2)',
  )
  await client.query('CREATE INDEX docs_note ON docs (note)')
  await client.query('CREATE TABLE empty (id int)')
  await client.query(
    `INSERT INTO docs SELECT n, 'note ' || n, ARRAY[n, 1, 2, 3]::float4[]::vector FROM generate_series(1, 500) n`,
  )
  await client.query('CREATE INDEX docs_e ON docs USING hnsw (e vector_l2_ops)')
  await client.query('UPDATE docs SET note = note || $1 WHERE id <= 20', ['!'])
  await client.query('DELETE FROM docs WHERE id > 450')
  await client.query('INSERT INTO docs VALUES (1000, NULL, NULL)')
  await client.query('SELECT note FROM docs WHERE id = 7')
  await client.query(`SELECT id FROM docs ORDER BY e <-> '[1,1,2,3]' LIMIT 3`)
  await client.query('SELECT count(*) FROM docs')
})

afterAll(async () => {
  await client.end()
  await server.stop()
})

test('pg_class says how many rows there are, of tables and of their indexes', async () => {
  expect(
    await rows(
      `SELECT relname, reltuples, relpages > 0 AS pages FROM pg_class
       WHERE relname LIKE 'docs%' OR relname = 'empty' ORDER BY relname`,
    ),
  ).toEqual([
    { relname: 'docs', reltuples: 451, pages: true },
    { relname: 'docs_e', reltuples: 451, pages: true },
    { relname: 'docs_note', reltuples: 451, pages: false },
    { relname: 'docs_pkey', reltuples: 451, pages: false },
    { relname: 'empty', reltuples: 0, pages: false },
  ])
  // As DBeaver asks.
  expect(
    await row(`SELECT c.oid, c.*, d.description FROM pg_catalog.pg_class c
      LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
      WHERE c.relname = 'docs'`),
  ).toMatchObject({ relname: 'docs', reltuples: 451 })
  // And nothing of it stays.
  await client.query('DELETE FROM docs WHERE id = 1000')
  expect(await row(`SELECT reltuples FROM pg_class WHERE oid = 'docs'::regclass`)).toEqual({
    reltuples: 450,
  })
})

test('pg_stat_user_tables counts what statements did', async () => {
  const found = await row(`SELECT * FROM pg_stat_user_tables WHERE relname = 'docs'`)
  expect(found).toMatchObject({
    schemaname: 'public',
    n_live_tup: '450',
    n_tup_ins: '501',
    n_tup_upd: '20',
    n_tup_del: '51',
    n_mod_since_analyze: '0',
    last_vacuum: null,
    last_analyze: null,
  })
  expect(Number(found['n_dead_tup'])).toBeGreaterThan(0)
  expect(Number(found['seq_scan'])).toBeGreaterThan(0)
  expect(Number(found['idx_scan'])).toBeGreaterThanOrEqual(2)
  expect(await row(`SELECT n_live_tup FROM pg_stat_all_tables WHERE relname = 'empty'`)).toEqual({
    n_live_tup: '0',
  })
  expect(await row(`SELECT pg_stat_get_live_tuples('docs'::regclass) AS n`)).toEqual({ n: '450' })
})

test('pg_stat_user_indexes says which index is used', async () => {
  const found = await rows(
    'SELECT indexrelname, idx_scan > 0 AS used FROM pg_stat_user_indexes ORDER BY indexrelname',
  )
  expect(found).toEqual([
    { indexrelname: 'docs_e', used: true },
    { indexrelname: 'docs_note', used: false },
    { indexrelname: 'docs_pkey', used: true },
  ])
  expect(await rows(`SELECT relname FROM pg_statio_user_tables ORDER BY 1`)).toHaveLength(2)
})

test('VACUUM and ANALYZE are remembered; VACUUM FULL leaves no dead row', async () => {
  await client.query('ANALYZE docs')
  await client.query('VACUUM FULL docs')
  const found = await row(
    `SELECT last_vacuum, last_analyze, vacuum_count, analyze_count FROM pg_stat_user_tables WHERE relname = 'docs'`,
  )
  expect(found).toMatchObject({ vacuum_count: '1', analyze_count: '1' })
  expect(found['last_vacuum']).toBeInstanceOf(Date)
  expect(found['last_analyze']).toBeInstanceOf(Date)
})

test('sizes add up', async () => {
  const found =
    await row(`SELECT pg_table_size('docs')::int AS "table", pg_indexes_size('docs')::int AS indexes,
    pg_total_relation_size('docs')::int AS total, pg_relation_size('docs_e')::int AS e,
    pg_database_size(current_database())::int AS "database", pg_relation_size('empty')::int AS "empty"`)
  const { table, indexes, total, e, database } = found as Record<string, number>
  expect(table).toBeGreaterThan(0)
  expect(indexes).toBe(e)
  expect(total).toBe((table ?? 0) + (indexes ?? 0))
  expect(database).toBe(total)
  expect(found['empty']).toBe(0)
})

test('elanus.segments, shards, tables, channels, nodes, memory and jobs show the state', async () => {
  const segments = await rows(`SELECT * FROM elanus.segments WHERE "table" = 'docs'::regclass`)
  expect(
    segments.reduce((sum, segment) => sum + Number(segment['row_count']), 0),
  ).toBeGreaterThanOrEqual(450)
  const shards = await rows(
    `SELECT shard, row_count - deleted_count AS live FROM elanus.shards WHERE "table"::text = 'docs' ORDER BY shard`,
  )
  expect(shards.map(({ shard }) => shard)).toEqual([0, 1])
  expect(shards.reduce((sum, { live }) => sum + Number(live), 0)).toBe(450)
  expect(
    await row(`SELECT row_count, shard_count FROM elanus.tables WHERE "table"::text = 'docs'`),
  ).toEqual({
    row_count: '450',
    shard_count: 2,
  })
  const channel = await row('SELECT * FROM elanus.channels')
  expect(channel).toMatchObject({ log_channel: 'log-0' })
  expect(channel['service_time']).toBeInstanceOf(Date)
  expect(
    (await rows('SELECT DISTINCT kind FROM elanus.nodes ORDER BY kind')).map(({ kind }) => kind),
  ).toEqual(['coordinator', 'data', 'proxy', 'query', 'streaming'])
  expect(await rows('SELECT * FROM elanus.memory WHERE used_bytes > 0')).not.toEqual([])
  await rows('SELECT kind, state, "table", rows_done FROM elanus.jobs')
})

/** In a cluster each segment lies on as many query nodes as there are, at most. */
test('replicas are kept and shown, and said to be one where everything is one process', async () => {
  const [, ...others] = await rows(`SELECT FROM elanus.nodes WHERE kind = 'query'`)
  const notices: string[] = []
  const hear = ({ message }: { message?: string | undefined }) => notices.push(message ?? '')
  client.on('notice', hear)
  await client.query('CREATE TABLE copies (id int PRIMARY KEY) WITH (replicas = 2)')
  if (others.length > 0) expect(notices).toEqual([])
  else expect(notices.join()).toContain('each segment once; replicas = 2 is kept for a cluster')
  await client.query('INSERT INTO copies VALUES (1)')
  await client.query('ALTER TABLE copies SET (replicas = 3)')
  await client.query('CHECKPOINT')
  const replicas = `SELECT replicas FROM elanus.tables WHERE "table" = 'copies'::regclass`
  expect(await row(replicas)).toEqual({ replicas: 3 })
  const replicaCount = Math.min(3, 1 + others.length)
  const nodeCount = others.length > 0 ? replicaCount : 0
  await expect
    .poll(
      () =>
        row(
          `SELECT wanted_replicas, replicas, cardinality(nodes) AS nodes FROM elanus.segments WHERE "table"::text = 'copies'`,
        ),
      { timeout: 30_000 },
    )
    .toEqual({ wanted_replicas: 3, replicas: replicaCount, nodes: nodeCount })
  await client.query('ALTER TABLE copies RESET (replicas)')
  expect(await row(replicas)).toEqual({ replicas: others.length > 0 ? 2 : 1 })
  await expect(client.query('ALTER TABLE copies SET (replicas = 0)')).rejects.toThrow(
    'value 0 out of bounds for option "replicas"',
  )
  await expect(
    client.query('CREATE TABLE p (k int) PARTITION BY LIST (k) WITH (replicas = 2)'),
  ).rejects.toThrow('a partitioned table has no replicas')
  client.off('notice', hear)
  await client.query('DROP TABLE copies')
})

test('pg_locks shows advisory locks, tables and rows that are locked, and who waits', async () => {
  const other = new pg.Client(server.url)
  await other.connect()
  const seen = () =>
    rows(
      `SELECT locktype, relation::regclass::text AS relation, classid, objid, objsubid, mode, granted, pid = $1 AS ours
       FROM pg_locks WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
       ORDER BY locktype, granted DESC, objid`,
      [ours],
    )
  const ours = (await row('SELECT pg_backend_pid() AS pid'))['pid']
  const advisory = { locktype: 'advisory', relation: null, granted: true, ours: true }
  await client.query('SELECT pg_advisory_lock(-4294967294), pg_advisory_lock_shared(7, -1)')
  expect(await seen()).toEqual([
    { ...advisory, classid: 4294967295, objid: 2, objsubid: 1, mode: 'ExclusiveLock' },
    { ...advisory, classid: 7, objid: 4294967295, objsubid: 2, mode: 'ShareLock' },
  ])
  await client.query('SELECT pg_advisory_unlock_all()')
  await client.query('BEGIN')
  await client.query('LOCK TABLE empty')
  await client.query('SELECT id FROM docs WHERE id = 3 FOR UPDATE')
  const waiting = other.query('UPDATE docs SET note = note WHERE id = 3')
  const onTable = { classid: null, objid: null, objsubid: null }
  const exclusive = 'ExclusiveLock'
  await expect.poll(seen, { timeout: 10_000 }).toEqual([
    {
      ...onTable,
      locktype: 'relation',
      relation: 'empty',
      mode: 'AccessExclusiveLock',
      granted: true,
      ours: true,
    },
    { ...onTable, locktype: 'tuple', relation: 'docs', mode: exclusive, granted: true, ours: true },
    {
      ...onTable,
      locktype: 'tuple',
      relation: 'docs',
      mode: exclusive,
      granted: false,
      ours: false,
    },
  ])
  await client.query('COMMIT')
  await waiting
  expect(await seen()).toEqual([])
  await other.end()
})

test('partitioned tables have the rows of their partitions', async () => {
  await client.query('CREATE TABLE parts (k int, v int) PARTITION BY LIST (k)')
  await client.query('CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)')
  await client.query('CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2)')
  await client.query('INSERT INTO parts VALUES (1, 1), (1, 2), (2, 3)')
  expect(
    await rows(
      `SELECT relname, reltuples FROM pg_class WHERE relname LIKE 'parts%' ORDER BY relname`,
    ),
  ).toEqual([
    { relname: 'parts', reltuples: 3 },
    { relname: 'parts_1', reltuples: 2 },
    { relname: 'parts_2', reltuples: 1 },
  ])
})

/**
 * One database through two proxies: what is done through one is what the other has, at once.
 * ELANUS_TEST_SERVER=HOST:PORT,HOST:PORT names them (docs/testing.md).
 */
import { once } from 'node:events'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startServer } from '../server.js'
import { sharedServers } from '../shared-server.js'

const [firstAddress, secondAddress] = sharedServers
let first: pg.Client
let second: pg.Client

function clientOf(address: { host: string; port: number } | undefined): pg.Client {
  return new pg.Client({ ...address, user: 'postgres', database: 'postgres' })
}

async function code(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: pg.DatabaseError) => error.code,
  )
}

async function rows(client: pg.Client, sql: string, values: unknown[] = []): Promise<unknown[][]> {
  return (await client.query({ text: sql, values, rowMode: 'array' })).rows
}

describe.skipIf(secondAddress === undefined)(
  'two proxies: needs two addresses in ELANUS_TEST_SERVER',
  () => {
    beforeAll(async () => {
      await startServer()
      first = clientOf(firstAddress)
      second = clientOf(secondAddress)
      await first.connect()
      await second.connect()
      await first.query('CREATE EXTENSION vector')
    })

    afterAll(async () => {
      await first?.end()
      await second?.end()
    })

    beforeEach(async () => {
      await first.query('DROP TABLE IF EXISTS t CASCADE')
      await second.query(
        'CREATE TABLE t (id int PRIMARY KEY, n int, e vector(2)) WITH (shards = 3)',
      )
      await first.query(
        'INSERT INTO t SELECT i, i % 10, ARRAY[i, 1]::vector FROM generate_series(1, 1000) i',
      )
    })

    test('DDL through one holds for the other when it is acknowledged', async () => {
      for (let round = 0; round < 5; round += 1) {
        await first.query('ALTER TABLE t ADD COLUMN m int NOT NULL DEFAULT 7')
        expect(await rows(second, 'SELECT sum(m)::int FROM t')).toEqual([[7000]])
        await second.query('ALTER TABLE t ADD CONSTRAINT positive CHECK (m > 0)')
        expect(await code(first.query('INSERT INTO t (id, m) VALUES (0, -1)'))).toBe('23514')
        await first.query('CREATE UNIQUE INDEX once ON t (id, m)')
        await second.query('CREATE FUNCTION twice(int) RETURNS int RETURN $1 * 2')
        expect(await rows(first, 'SELECT twice(m) FROM t WHERE id = 5')).toEqual([[14]])
        await first.query('DROP FUNCTION twice')
        expect(await code(second.query('SELECT twice(1)'))).toBe('42883')
        await second.query('CREATE VIEW seen AS SELECT id FROM t WHERE n = 3')
        expect(await rows(first, 'SELECT count(*)::int FROM seen')).toEqual([[100]])
        await first.query('DROP VIEW seen')
        await second.query('ALTER TABLE t DROP COLUMN m')
        expect(await code(first.query('SELECT m FROM t'))).toBe('42703')
        await first.query('ALTER TABLE t RENAME TO s')
        expect(await code(second.query('SELECT 1 FROM t'))).toBe('42P01')
        await second.query('ALTER TABLE s RENAME TO t')
      }
    })

    test('prepared statements live through DDL of the other', async () => {
      const named = (name: string, text: string, values: unknown[]) =>
        first.query({ name, text, values, rowMode: 'array' })
      const one = () => named('one', 'SELECT n FROM t WHERE id = $1', [5])
      const all = () => named('all', 'SELECT * FROM t WHERE id = $1', [5])
      const add = (id: number) => named('add', 'INSERT INTO t (id, n) VALUES ($1, $2)', [id, 1])
      expect((await one()).rows).toEqual([[5]])
      expect((await all()).rows).toEqual([[5, 5, '[5,1]']])
      await add(2001)
      await second.query("ALTER TABLE t ADD COLUMN m text DEFAULT 'new'")
      expect((await one()).rows).toEqual([[5]])
      await add(2002)
      expect(await rows(second, 'SELECT m FROM t WHERE id > 2000 ORDER BY id')).toEqual([
        ['new'],
        ['new'],
      ])
      // PostgreSQL's word: cached plan must not change result type.
      expect(await code(all())).toBe('0A000')
      await second.query('ALTER TABLE t DROP COLUMN n')
      expect(await code(one())).toBe('42703')
    })

    test('a block goes on with what it has begun; DDL within a block is nobody else’s before its end', async () => {
      await first.query('BEGIN')
      await first.query('ALTER TABLE t ADD COLUMN m int')
      await first.query('UPDATE t SET m = id')
      expect(await code(second.query('SELECT m FROM t'))).toBe('42703')
      await first.query('COMMIT')
      expect(await rows(second, 'SELECT sum(m)::int FROM t')).toEqual([[500_500]])
      await first.query('BEGIN')
      await first.query('DROP TABLE t')
      expect(await rows(second, 'SELECT count(*)::int FROM t')).toEqual([[1000]])
      await first.query('ROLLBACK')
      expect(await rows(first, 'SELECT count(*)::int FROM t')).toEqual([[1000]])
    })

    test('both change the catalog at the same time: one after the other, none lost', async () => {
      const make = async (client: pg.Client, name: string) => {
        for (let i = 0; i < 8; i += 1) await client.query(`CREATE TABLE made.${name}${i} (id int)`)
      }
      await first.query('CREATE SCHEMA made')
      await Promise.all([make(first, 'a'), make(second, 'b')])
      const count = `SELECT count(*)::int, count(DISTINCT oid)::int FROM pg_class WHERE relnamespace = 'made'::regnamespace`
      expect(await rows(first, count)).toEqual([[16, 16]])
      expect(await rows(second, count)).toEqual([[16, 16]])
      await first.query('DROP SCHEMA made CASCADE')
      expect(await code(second.query("SELECT 'made'::regnamespace"))).toBe('3F000')
    })

    test('a cursor keeps its snapshot while the other truncates, vacuums and indexes', async () => {
      await first.query('BEGIN')
      await first.query('DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY id')
      expect(await rows(first, 'FETCH 2 FROM c')).toEqual([[1], [2]])
      await second.query('DELETE FROM t WHERE id < 900')
      await second.query('VACUUM FULL t')
      await second.query('CREATE INDEX t_e ON t USING hnsw (e vector_l2_ops)')
      expect(await rows(first, 'FETCH 2 FROM c')).toEqual([[3], [4]])
      await first.query('COMMIT')
      expect((await rows(first, 'FETCH ALL FROM c')).length).toBe(996)
      await first.query('CLOSE c')
      await second.query('REINDEX TABLE t')
      const nearest = "SELECT id FROM t ORDER BY e <-> '[950.1,1]' LIMIT 2"
      expect(await rows(first, nearest)).toEqual([[950], [951]])
      expect(await rows(second, nearest)).toEqual([[950], [951]])
      expect(JSON.stringify(await rows(first, `EXPLAIN ${nearest}`))).toContain('hnsw')
      await second.query('TRUNCATE t')
      expect(await rows(first, 'SELECT count(*)::int FROM t')).toEqual([[0]])
    })

    test('partitions come and go', async () => {
      await first.query('DROP TABLE IF EXISTS parts')
      await first.query('CREATE TABLE parts (k int, v text) PARTITION BY LIST (k)')
      await second.query('CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)')
      await first.query("INSERT INTO parts SELECT 1, 'x' FROM generate_series(1, 50)")
      expect(await code(second.query('INSERT INTO parts VALUES (2)'))).toBe('23514')
      await second.query('CREATE TABLE parts_2 (LIKE parts)')
      await first.query("INSERT INTO parts_2 VALUES (2, 'y')")
      await second.query('ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2)')
      expect(await rows(first, 'SELECT k, count(*)::int FROM parts GROUP BY k ORDER BY k')).toEqual(
        [
          [1, 50],
          [2, 1],
        ],
      )
      await first.query('ALTER TABLE parts DETACH PARTITION parts_1')
      expect(await rows(second, 'SELECT count(*)::int FROM parts')).toEqual([[1]])
      await second.query('DROP TABLE parts, parts_1')
    })

    test('sequences give no number twice, and large values come through', async () => {
      await first.query('DROP TABLE IF EXISTS big')
      await first.query('CREATE TABLE big (id bigserial PRIMARY KEY, b text)')
      const add = async (client: pg.Client) => {
        for (let i = 0; i < 20; i += 1) await client.query("INSERT INTO big (b) VALUES ('x')")
      }
      await Promise.all([add(first), add(second)])
      expect(await rows(first, 'SELECT count(DISTINCT id)::int FROM big')).toEqual([[40]])
      const long = 'ä€😀'.repeat(700_000)
      await first.query('INSERT INTO big (b) VALUES ($1)', [long])
      const [found] = await rows(second, "SELECT b FROM big WHERE b <> 'x'")
      expect(found?.[0] === long).toBe(true)
      await second.query('DROP TABLE big')
    })

    test('a table with a time to live, and what it is changed to', async () => {
      await first.query('DROP TABLE IF EXISTS brief')
      await first.query(
        "CREATE TABLE brief (id int PRIMARY KEY, at timestamptz) WITH (ttl = '1 hour', ttl_column = 'at')",
      )
      await second.query("INSERT INTO brief VALUES (1, now()), (2, now() - interval '2 hours')")
      expect(await rows(first, 'SELECT id FROM brief')).toEqual([[1]])
      await second.query("ALTER TABLE brief SET (ttl = '3 hours')")
      await first.query("INSERT INTO brief VALUES (3, now() - interval '2 hours')")
      expect(await rows(first, 'SELECT id FROM brief WHERE id <> 2 ORDER BY id')).toEqual([
        [1],
        [3],
      ])
      await first.query('DROP TABLE brief')
    })

    test('NOTIFY reaches who listens through the other, in order, at the commit', async () => {
      const heard: string[] = []
      second.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`))
      await second.query('LISTEN news')
      await first.query('BEGIN')
      await first.query("NOTIFY news, 'lost'")
      await first.query('ROLLBACK')
      const last = 30
      for (let i = 0; i < last; i += 1) await first.query(`SELECT pg_notify('news', '${i}')`)
      await first.query("NOTIFY others, 'not for you'")
      while (heard.length < last) await once(second, 'notification')
      expect(heard).toEqual(Array.from({ length: last }, (_, i) => `news ${i}`))
      await second.query('UNLISTEN *')
      second.removeAllListeners('notification')
    })

    test('a sequence gives each value once, and what one sets the other has', async () => {
      await first.query('DROP TABLE IF EXISTS numbered')
      await first.query('CREATE TABLE numbered (id serial PRIMARY KEY, by text)')
      const insert = (client: pg.Client, by: string) =>
        client.query('INSERT INTO numbered (by) SELECT $1 FROM generate_series(1, 3)', [by])
      for (let i = 0; i < 10; i += 1) await Promise.all([insert(first, 'a'), insert(second, 'b')])
      const count = 'SELECT count(*)::int, count(DISTINCT id)::int FROM numbered'
      expect(await rows(first, count)).toEqual([[60, 60]])
      await second.query("SELECT setval('numbered_id_seq', 1000)")
      expect(await rows(first, "INSERT INTO numbered (by) VALUES ('c') RETURNING id")).toEqual([
        [1001],
      ])
      await first.query('DROP TABLE numbered')
    })

    test('roles and passwords', async () => {
      await first.query("CREATE ROLE somebody LOGIN PASSWORD 'secret'")
      const known = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'somebody'"
      expect(await rows(second, known)).toEqual([[true]])
      await second.query('DROP ROLE somebody')
      expect(await rows(first, known)).toEqual([])
    })

    test('the views say the same through both', async () => {
      const nodes =
        'SELECT kind, count(*)::int, count(version)::int FROM elanus.nodes GROUP BY kind ORDER BY kind'
      expect(await rows(first, nodes)).toEqual(await rows(second, nodes))
      const tables = `SELECT row_count FROM elanus.tables WHERE "table"::text = 't'`
      expect(await rows(first, tables)).toEqual([['1000']])
      expect(await rows(second, tables)).toEqual([['1000']])
      const used = 'SELECT count(*)::int FROM elanus.memory WHERE used_bytes > 0'
      expect((await rows(first, used))[0]?.[0]).toBeGreaterThan(0)
      expect(await rows(second, `SELECT reltuples FROM pg_class WHERE relname = 't'`)).toEqual([
        [1000],
      ])
    })
  },
)

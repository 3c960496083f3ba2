import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import type { DdlEntry, Postgres } from '#postgres/contract.js'
import {
  ddl,
  evaluation,
  openTestPostgres,
  plainSettings,
  rowsOf,
  settingsOf,
  textRows,
} from '#postgres/postgres-fixture.js'

let postgres: Postgres
const log: DdlEntry[] = []
const run = async (...statements: string[]) => {
  log.push(...(await ddl(postgres, ...statements)))
}
const query = async (sql: string, settings = plainSettings) =>
  textRows(await postgres.catalogQuery(evaluation(sql, { settings }), backgroundContext))
const table = (name: string) => {
  const found = postgres.catalog().tablesByName.get(name)
  if (found === undefined) throw new Error(`no table ${name}`)
  return found
}

beforeAll(async () => {
  postgres = await openTestPostgres()
  await run('CREATE EXTENSION vector')
})
afterAll(() => postgres.close())

describe('catalog snapshot', () => {
  test('columns, keys, indexes, foreign keys, sequences, options', async () => {
    await run(
      'CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mail text NOT NULL UNIQUE NULLS NOT DISTINCT)',
      `CREATE TABLE docs (id bigserial, owner int REFERENCES users (id), gone int, title varchar(20) DEFAULT 'x' NOT NULL,
        n numeric(10,2), half numeric GENERATED ALWAYS AS (n / 2) STORED, embedding vector(3), at timestamptz DEFAULT now(),
        raw vector, PRIMARY KEY (id), CHECK (n > 0)) WITH (shards = 4, fillfactor = 70, ttl = '1 day')`,
      'ALTER TABLE docs DROP COLUMN gone',
      'CREATE INDEX CONCURRENTLY docs_cos ON docs USING hnsw (embedding vector_cosine_ops) WITH (m = 8, ef_construction = 40)',
      'CREATE INDEX docs_expr ON docs USING hnsw ((raw::vector(3)) vector_l2_ops)',
      'CREATE INDEX docs_ivf ON docs USING ivfflat (embedding vector_ip_ops)',
      'CREATE INDEX docs_half ON docs USING hnsw ((embedding::halfvec(3)) halfvec_l2_ops)',
    )
    const docs = table('public.docs')
    expect(
      docs.columns.map((c) => [c.attnum, c.name, c.typeName, c.kind, c.width, c.notNull]),
    ).toEqual([
      [1, 'id', 'int8', 'int64', 0, true],
      [2, 'owner', 'int4', 'int32', 0, false],
      [4, 'title', 'varchar', 'bytes', 0, true],
      [5, 'n', 'numeric', 'bytes', 0, false],
      [6, 'half', 'numeric', 'bytes', 0, false],
      [7, 'embedding', 'vector', 'vector', 3, false],
      [8, 'at', 'timestamptz', 'int64', 0, false],
      [9, 'raw', 'vector', 'bytes', 0, false],
    ])
    expect(docs.keys).toMatchObject([{ name: 'docs_pkey', attnums: [1], primary: true }])
    expect(
      docs.vectorIndexes
        .map(({ name, attnum, metric, m, efConstruction }) => [
          name,
          attnum,
          metric,
          m,
          efConstruction,
        ])
        .sort(),
    ).toEqual([
      ['docs_cos', 7, 'cosine', 8, 40],
      ['docs_expr', 9, 'l2', 16, 64],
      ['docs_ivf', 7, 'inner', 16, 64],
    ])
    const users = table('public.users')
    expect(docs.foreignKeys).toMatchObject([
      { attnums: [2], referencedTableOid: users.oid, referencedAttnums: [1] },
    ])
    expect(users.referencedBy).toMatchObject([{ tableOid: docs.oid }])
    expect(users.keys.find(({ primary }) => !primary)).toMatchObject({
      attnums: [2],
      nullsNotDistinct: true,
    })
    expect(users.columns[0]).toMatchObject({ identity: 'a' })
    const [id] = docs.columns
    expect(id?.defaultExpression).toBe("nextval('docs_id_seq'::regclass)")
    expect(postgres.catalog().sequences.get(id?.sequenceOid ?? 0)).toMatchObject({
      name: 'docs_id_seq',
      increment: 1n,
    })
    expect(users.columns[0]?.sequenceOid).toBeGreaterThan(0)
    expect(docs.hasCheckConstraints).toBe(true)
    expect([...docs.options]).toEqual([
      ['shards', '4'],
      ['ttl', '1 day'],
    ])
    expect(docs.columns.find(({ name }) => name === 'half')).toMatchObject({ generated: 's' })
  })

  test('table options show in reloptions and survive ALTER TABLE', async () => {
    await run('ALTER TABLE docs SET (fillfactor = 80)')
    await run('ALTER TABLE docs SET (shards = 8)')
    await run('ALTER TABLE docs RESET (ttl)')
    expect([...table('public.docs').options]).toEqual([['shards', '8']])
    expect(
      await query(`SELECT unnest(reloptions) FROM pg_class WHERE relname = 'docs' ORDER BY 1`),
    ).toEqual(['fillfactor=80', 'shards=8'])
    await expect(
      postgres.tryDdl('CREATE TABLE x (a int) WITH (shards = 0)', plainSettings, []),
    ).rejects.toMatchObject({
      sqlState: '22023',
      message: 'value 0 out of bounds for option "shards"',
    })
    await expect(
      postgres.tryDdl('CREATE TABLE x (a int) WITH (nonsense = 1)', plainSettings, []),
    ).rejects.toMatchObject({
      sqlState: '22023',
      message: 'unrecognized parameter "nonsense"',
    })
  })

  test('what rows hold that are older than a column', async () => {
    await run(
      'CREATE TABLE grows (id int)',
      "ALTER TABLE grows ADD COLUMN a int DEFAULT 7, ADD COLUMN b text, ADD COLUMN c vector(2) DEFAULT '[1,2]'",
    )
    const columns = table('public.grows').columns
    expect(columns.map(({ missing }) => missing && Buffer.from(missing).toString('hex'))).toEqual([
      null,
      '00000007',
      null,
      '000200003f80000040000000',
    ])
  })

  test('partitions, domains, functions, roles', async () => {
    await run(
      'CREATE DOMAIN small AS int CHECK (VALUE < 10)',
      'CREATE TABLE part (k int, v small) PARTITION BY RANGE (k)',
      'CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10)',
      'CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20) PARTITION BY LIST (v)',
      'CREATE TABLE part_2a PARTITION OF part_2 FOR VALUES IN (1)',
      'CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS $$ SELECT 2 * $1 $$',
      'CREATE ROLE reader LOGIN',
    )
    const part = table('public.part')
    expect(part.kind).toBe('partitioned')
    expect(part.partitions).toEqual([table('public.part_1').oid, table('public.part_2a').oid])
    expect(table('public.part_2a').parentOid).toBe(table('public.part_2').oid)
    expect(part.columns[1]).toMatchObject({ typeName: 'small', kind: 'bytes' })
    expect(postgres.catalog().userFunctions.get('twice')).toBe('volatile')
    expect(postgres.catalog().roles.get('reader')).toMatchObject({
      superuser: false,
      canLogin: true,
    })
  })
})

describe('describe and explain', () => {
  test('partitions that depend on parameters are all in the plan', async () => {
    await run(
      'CREATE TABLE pruned (id int PRIMARY KEY) PARTITION BY RANGE (id)',
      'CREATE TABLE pruned_low PARTITION OF pruned FOR VALUES FROM (0) TO (10)',
      'CREATE TABLE pruned_high PARTITION OF pruned FOR VALUES FROM (10) TO (20)',
    )
    const scans = async (sql: string) => {
      const plan = await postgres.explain({ sql, parameterTypes: [] }, plainSettings, [])
      return JSON.stringify(plan).match(/"Relation Name":"[a-z_]+"/g)
    }
    expect(await scans('SELECT * FROM pruned WHERE id = $1')).toHaveLength(2)
    expect(await scans('SELECT * FROM pruned WHERE id = 3')).toHaveLength(1)
  })

  test('types of parameters and columns', async () => {
    const d = await postgres.describe(
      { sql: 'SELECT id, embedding <-> $2 AS d FROM docs WHERE title = $1', parameterTypes: [] },
      plainSettings,
      [],
    )
    expect(d.fields.map(({ name, attnum }) => [name, attnum])).toEqual([
      ['id', 1],
      ['d', 0],
    ])
    expect(postgres.catalog().typeNames.get(d.parameterTypes[1] ?? 0)).toBe('vector')
    expect(
      await postgres.describe({ sql: 'DELETE FROM docs', parameterTypes: [] }, plainSettings, []),
    ).toEqual({ parameterTypes: [], fields: [] })
  })

  test('the plan keeps parameters and filters, and uses no index', async () => {
    const plan = await postgres.explain(
      { sql: 'SELECT id FROM docs WHERE id = $1 AND n > 5', parameterTypes: [20] },
      plainSettings,
      [],
    )
    expect(plan).toMatchObject({
      'Node Type': 'Seq Scan',
      'Relation Name': 'docs',
      Filter: "((docs.n > '5'::numeric) AND (docs.id = $1))",
    })
  })

  test('errors have PostgreSQL’s fields', async () => {
    await expect(
      postgres.describe({ sql: 'SELECT nope FROM docs', parameterTypes: [] }, plainSettings, []),
    ).rejects.toMatchObject({
      sqlState: '42703',
      message: 'column "nope" does not exist',
      fields: { position: 8 },
    })
    await expect(
      postgres.explain(
        { sql: 'SELECT * FROM docs WHERE id = $1 AND nope', parameterTypes: [] },
        plainSettings,
        [],
      ),
    ).rejects.toMatchObject({ sqlState: '42703' })
    await postgres.explain({ sql: 'SELECT 1', parameterTypes: [] }, plainSettings, [])
  })

  test('search_path, time zone and role of the session count', async () => {
    await run('CREATE SCHEMA s', 'CREATE TABLE s.only_here (a int)')
    const settings = settingsOf({
      search_path: 's, public',
      timezone: 'Europe/Berlin',
      'elanus.consistency': 'bounded',
      statement_timeout: '5s',
    })
    expect(
      (
        await postgres.describe(
          { sql: 'SELECT * FROM only_here', parameterTypes: [] },
          settings,
          [],
        )
      ).fields,
    ).toHaveLength(1)
    expect(
      await query(
        `SELECT current_setting('TimeZone'), current_setting('elanus.consistency'), current_schemas(false)`,
        settings,
      ),
    ).toEqual(['Europe/Berlin|bounded|{s,public}'])
    await expect(query('SELECT * FROM only_here')).rejects.toMatchObject({ sqlState: '42P01' })
    const reader = { ...plainSettings, user: 'reader' }
    expect(await query('SELECT current_user, session_user', reader)).toEqual(['reader|reader'])
    expect(
      await query('SELECT current_user, session_user', { ...plainSettings, role: 'reader' }),
    ).toEqual(['reader|postgres'])
    await expect(query('SELECT * FROM docs', reader)).rejects.toMatchObject({
      sqlState: '42501',
      message: 'permission denied for table docs',
    })
    expect(await query('SELECT current_user')).toEqual(['postgres'])
    await expect(query('SELECT 1', settingsOf({ timezone: 'Mars' }))).rejects.toMatchObject({
      sqlState: '22023',
    })
    expect(await query('SHOW timezone')).toEqual(['UTC'])
  })
})

/** OID and file number of every table: the latter tells rows before a rewrite from those after. */
function tableFiles({ catalog }: Postgres): readonly (readonly [number, number | undefined])[] {
  return [...catalog().tables.values()]
    .map(({ oid, fileNumber }) => [oid, fileNumber] as const)
    .sort(([a], [b]) => a - b)
}

describe('DDL', () => {
  const oidQuery = `SELECT string_agg(o || ' ' || n, ',' ORDER BY o, n) FROM (
    SELECT oid::int8 AS o, relname::text AS n FROM pg_class WHERE oid BETWEEN 16384 AND 3000000000
    UNION ALL SELECT oid::int8, typname FROM pg_type WHERE oid BETWEEN 16384 AND 3000000000
    UNION ALL SELECT oid::int8, conname FROM pg_constraint WHERE oid BETWEEN 16384 AND 3000000000
    UNION ALL SELECT oid::int8, proname FROM pg_proc WHERE oid BETWEEN 16384 AND 3000000000) x`

  test('pending DDL is seen by everything and leaves nothing behind', async () => {
    const pending: DdlEntry[] = []
    for (const sql of [
      'CREATE TABLE soon (a int PRIMARY KEY, b text)',
      'ALTER TABLE soon ADD COLUMN c vector(2)',
      'CREATE INDEX ON soon (b)',
    ]) {
      const { result, catalog } = await postgres.tryDdl(sql, plainSettings, pending)
      pending.push(result.entry)
      expect(catalog.version).toBe(postgres.catalog().version + pending.length)
      expect(catalog.tablesByName.get('public.soon')?.columns[0]?.name).toBe('a')
    }
    const before = (await postgres.tryDdl('CREATE TABLE other (x int)', plainSettings, pending))
      .catalog
    const oid = before.tablesByName.get('public.soon')?.oid ?? 0
    expect(
      (
        await postgres.describe(
          { sql: 'SELECT * FROM soon', parameterTypes: [] },
          plainSettings,
          pending,
        )
      ).fields[0]?.tableOid,
    ).toBe(oid)
    const result = await postgres.evaluate(
      evaluation("INSERT INTO soon VALUES (1, 'x', '[1,2]'), (2, 'y', NULL) RETURNING a", {
        pendingDdl: pending,
        captureTables: [oid],
      }),
      backgroundContext,
    )
    expect(result).toMatchObject({
      commandTag: 'INSERT 0 2',
      changes: [{ tableOid: oid, insertedCount: 2 }],
    })
    await expect(query('SELECT * FROM soon')).rejects.toMatchObject({ sqlState: '42P01' })
    await postgres.applyDdl(pending)
    log.push(...pending)
    expect(table('public.soon').oid).toBe(oid)
  })

  test('an entry that fails is not applied, nor those with it', async () => {
    const { version } = postgres.catalog()
    const settings = { user: 'postgres', gucs: [] }
    await expect(
      postgres.applyDdl([
        { sql: 'CREATE TABLE half_1 (a int)', firstOid: 50_000, settings },
        { sql: 'CREATE TABLE half_1 (a int)', firstOid: 50_010, settings },
      ]),
    ).rejects.toMatchObject({ sqlState: '42P07', message: 'relation "half_1" already exists' })
    expect(postgres.catalog().version).toBe(version)
    await expect(query('SELECT * FROM half_1')).rejects.toMatchObject({ sqlState: '42P01' })
  })

  test('OIDs are the same in catalog, evaluator and after a restart, whatever was tried', async () => {
    for (let i = 0; i < 3; i += 1) {
      await postgres.tryDdl('CREATE TABLE tried (a serial PRIMARY KEY, b text)', plainSettings, [])
      await postgres.tryDdl('CREATE TABLE tried (a, b)', plainSettings, []).catch(() => {})
    }
    await run(
      'CREATE TABLE after_trials (a serial PRIMARY KEY, b text UNIQUE, r int REFERENCES users)',
      'ALTER TABLE after_trials ALTER COLUMN b TYPE varchar(100) USING upper(b)',
      'CREATE VIEW v AS SELECT * FROM after_trials',
      'CREATE TABLE liked (LIKE docs INCLUDING ALL)',
      'DROP TABLE liked',
    )
    const expected = await query(oidQuery)
    expect(await rowsOf(postgres, oidQuery)).toEqual(expected)
    const again = await openTestPostgres(log)
    try {
      expect(textRows(await again.catalogQuery(evaluation(oidQuery), backgroundContext))).toEqual(
        expected,
      )
      expect(await rowsOf(again, oidQuery)).toEqual(expected)
      expect(tableFiles(again)).toEqual(tableFiles(postgres))
      const next = 'CREATE TABLE next_one (a int PRIMARY KEY, b text)'
      const [one, two] = await Promise.all(
        [postgres, again].map((p) => p.tryDdl(next, plainSettings, [])),
      )
      expect(one?.result.entry).toEqual(two?.result.entry)
    } finally {
      await again.close()
    }
  })

  test('what would leave the instance is refused', async () => {
    for (const sql of ["COPY docs TO PROGRAM 'cat'", "COPY docs FROM '/etc/passwd'", "LOAD 'x'"]) {
      await expect(postgres.evaluate(evaluation(sql), backgroundContext)).rejects.toMatchObject({
        sqlState: '0A000',
      })
    }
    for (const sql of ['ALTER SYSTEM SET work_mem = 1', 'CREATE DATABASE x']) {
      await expect(postgres.tryDdl(sql, plainSettings, [])).rejects.toMatchObject({
        sqlState: '0A000',
      })
    }
  })
})

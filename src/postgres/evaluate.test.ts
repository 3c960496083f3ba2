import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { DatabaseError } from '#base/errors.js'
import type {
  Evaluation,
  EvaluationResult,
  Postgres,
  TableChange,
  TableLoad,
} from '#postgres/contract.js'
import {
  bound,
  ddl,
  evaluation,
  load,
  openTestPostgres,
  plainSettings,
  rowsOf,
  textRows,
} from '#postgres/postgres-fixture.js'

let postgres: Postgres
beforeAll(async () => {
  postgres = await openTestPostgres()
  await ddl(
    postgres,
    'CREATE EXTENSION vector',
    `CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL DEFAULT 'd', n int CHECK (n > 0), twice int GENERATED ALWAYS AS (n * 2) STORED)`,
    'CREATE TABLE parent (id int PRIMARY KEY)',
    'CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)',
    'CREATE TABLE audit (id serial, what text)',
    `CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP || ' ' || coalesce(OLD.id, NEW.id)); RETURN coalesce(NEW, OLD); END $$`,
    'CREATE TABLE watched (id int PRIMARY KEY, v text)',
    'CREATE TRIGGER w AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION log_it()',
    'CREATE FUNCTION count_t() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM t); END $$',
    'CREATE TABLE wide (id int PRIMARY KEY, e vector(768), body text)',
    'CREATE ROLE someone LOGIN',
  )
})
afterAll(() => postgres.close())

const oid = (name: string) => postgres.catalog().tablesByName.get(`public.${name}`)?.oid ?? 0
const run = (sql: string, rest: Partial<Evaluation> = {}): Promise<EvaluationResult> =>
  postgres.evaluate(evaluation(sql, rest), backgroundContext)
/** Rows 1 … count of t: name 'n<id>', n = id. */
const loadT = (count: number): Promise<TableLoad> =>
  load(
    postgres,
    'public.t',
    [1, 2, 3, 4],
    `SELECT g::int4, 'n' || g, g::int4, g * 2 FROM generate_series(1, ${count}) g`,
    count,
  )
const change = (result: EvaluationResult, table: string): TableChange | undefined =>
  result.changes.find(({ tableOid }) => tableOid === oid(table))
/** Captured rows go back in as a load: what they hold is read by the table they are of. */
const insertedRows = async (result: EvaluationResult, table: string): Promise<string[]> => {
  const { inserted, insertedCount, tableOid } = change(result, table) ?? {
    inserted: new Uint8Array(0),
    insertedCount: 0,
    tableOid: oid(table),
  }
  const attnums =
    postgres
      .catalog()
      .tables.get(tableOid)
      ?.columns.map(({ attnum }) => attnum) ?? []
  return rowsOf(postgres, `SELECT * FROM ${table} ORDER BY 1`, {
    loads: [{ tableOid, attnums, tuples: inserted, rowCount: insertedCount }],
  })
}

describe('reading loaded rows', () => {
  test('only the columns that were fetched, whatever is NOT NULL or checked', async () => {
    const names = await load(
      postgres,
      'public.t',
      [2],
      `SELECT 'a' || g FROM generate_series(1, 3) g`,
      3,
    )
    expect(await rowsOf(postgres, 'SELECT name FROM t ORDER BY 1', { loads: [names] })).toEqual([
      'a1',
      'a2',
      'a3',
    ])
    expect(
      await rowsOf(postgres, 'SELECT count(*) FROM t', {
        loads: [{ tableOid: oid('t'), attnums: [], tuples: new Uint8Array(0), rowCount: 1234 }],
      }),
    ).toEqual(['1234'])
  })

  test('by key, joined and aggregated, though no index knows the rows', async () => {
    const loads = [await loadT(1000)]
    expect(await rowsOf(postgres, 'SELECT twice FROM t WHERE id = 500', { loads })).toEqual([
      '1000',
    ])
    expect(
      await rowsOf(
        postgres,
        'SELECT count(*) FROM t a JOIN t b USING (id) WHERE EXISTS (SELECT FROM t c WHERE c.id = a.n)',
        { loads },
      ),
    ).toEqual(['1000'])
    expect(await rowsOf(postgres, 'SELECT max(id), min(id) FROM t', { loads })).toEqual(['1000|1'])
  })

  test('nothing stays', async () => {
    expect(await rowsOf(postgres, 'SELECT count(*) FROM t')).toEqual(['0'])
  })

  test('vectors and large values', async () => {
    const sql = `SELECT g::int4, array_fill(g, ARRAY[768])::vector, repeat('x', 100000) FROM generate_series(1, 20) g`
    const loads = [await load(postgres, 'public.wide', [1, 2, 3], sql, 20)]
    expect(
      await rowsOf(
        postgres,
        `SELECT id, length(body) FROM wide ORDER BY e <-> array_fill(3, ARRAY[768])::vector LIMIT 2`,
        { loads },
      ),
    ).toEqual(['3|100000', '2|100000'])
  })

  test('parameters and formats of the client', async () => {
    const statement = { ...bound('SELECT id, $1::int + 1 FROM t', '41'), resultFormats: [1] }
    const result = await run('', { statement, loads: [await loadT(1)] })
    expect(Buffer.from(result.dataRows).toString('hex')).toBe(
      '4400000016000200000004000000010000000' + '40000002a',
    )
    expect(result.rowDescription?.[0]).toBe(0x54)
    expect(result).toMatchObject({ rowCount: 1, commandTag: 'SELECT 1' })
  })

  test('a function that reads another table says so, and gets it', async () => {
    const first = await run('SELECT count_t()')
    expect(first.touchedUnloaded).toEqual([oid('t')])
    const second = await run('SELECT count_t()', { loads: [await loadT(7)] })
    expect(second.touchedUnloaded).toEqual([])
    expect(textRows(second)).toEqual(['7'])
  })

  test('COPY (query) TO STDOUT gives CopyData messages', async () => {
    const result = await run('COPY (SELECT id, name FROM t) TO STDOUT', { loads: [await loadT(2)] })
    expect(Buffer.from(result.dataRows).toString()).toContain('1\tn1\n')
    expect(result).toMatchObject({ rowCount: 2, commandTag: 'COPY 2' })
  })

  test('the clock of the session’s transaction', async () => {
    const transactionStartMs = Date.UTC(2020, 0, 2, 3, 4, 5, 678)
    expect(
      await rowsOf(
        postgres,
        `SELECT now() AT TIME ZONE 'UTC', clock_timestamp() > now() + interval '1 year'`,
        { transactionStartMs },
      ),
    ).toEqual(['2020-01-02 03:04:05.678|t'])
  })
})

describe('capturing changes', () => {
  test('INSERT with defaults and generated columns', async () => {
    const result = await run('INSERT INTO t (id, n) VALUES (1, 5), (2, 6) RETURNING id, twice', {
      captureTables: [oid('t')],
    })
    expect(textRows(result)).toEqual(['1|10', '2|12'])
    expect(result.touchedUnloaded).toEqual([])
    expect(change(result, 't')?.removed).toHaveLength(0)
    expect(await insertedRows(result, 't')).toEqual(['1|d|5|10', '2|d|6|12'])
  })

  test('UPDATE and DELETE name the rows that are gone by their place in the load', async () => {
    const loads = [await loadT(300)]
    const updated = await run(`UPDATE t SET n = n + 1000 WHERE id IN (2, 200, 300)`, {
      loads,
      captureTables: [oid('t')],
    })
    expect([...(change(updated, 't')?.removed ?? [])]).toEqual([1, 199, 299])
    expect(await insertedRows(updated, 't')).toEqual([
      '2|n2|1002|2004',
      '200|n200|1200|2400',
      '300|n300|1300|2600',
    ])
    const deleted = await run('DELETE FROM t WHERE id % 100 = 0', {
      loads,
      captureTables: [oid('t')],
    })
    expect([...(change(deleted, 't')?.removed ?? [])]).toEqual([99, 199, 299])
    expect(change(deleted, 't')?.insertedCount).toBe(0)
    expect(
      (await run('UPDATE t SET n = 1 WHERE false', { loads, captureTables: [oid('t')] })).changes,
    ).toEqual([])
  })

  test('ON CONFLICT meets loaded rows', async () => {
    const loads = [await loadT(5)]
    const sql = `INSERT INTO t (id, n) VALUES (3, 7), (9, 8) ON CONFLICT (id) DO UPDATE SET name = 'hit'`
    const result = await run(sql, { loads, captureTables: [oid('t')] })
    expect([...(change(result, 't')?.removed ?? [])]).toEqual([2])
    expect(await insertedRows(result, 't')).toEqual(['3|hit|3|6', '9|d|8|16'])
    const nothing = await run('INSERT INTO t (id, n) VALUES (3, 7) ON CONFLICT DO NOTHING', {
      loads,
      captureTables: [oid('t')],
    })
    expect(nothing).toMatchObject({ commandTag: 'INSERT 0 0', changes: [] })
  })

  test('MERGE and data-modifying common table expressions', async () => {
    const loads = [await loadT(4)]
    const merged = await run(
      `MERGE INTO t USING (VALUES (1), (8)) s (id) ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, 1)`,
      { loads, captureTables: [oid('t')] },
    )
    expect([...(change(merged, 't')?.removed ?? [])]).toEqual([0])
    expect(await insertedRows(merged, 't')).toEqual(['8|d|1|2'])
    const moved = await run(
      `WITH gone AS (DELETE FROM t WHERE id > 2 RETURNING id) INSERT INTO parent SELECT id FROM gone`,
      {
        loads,
        captureTables: [oid('t'), oid('parent')],
      },
    )
    expect([...(change(moved, 't')?.removed ?? [])]).toEqual([2, 3])
    expect(await insertedRows(moved, 'parent')).toEqual(['3', '4'])
  })

  test('cascades reach the rows that were loaded; parents of loaded rows are not missed', async () => {
    const loads = [
      await load(postgres, 'public.parent', [1], 'SELECT g::int4 FROM generate_series(1, 3) g', 3),
      await load(
        postgres,
        'public.child',
        [1, 2],
        'SELECT g::int4, (g % 3 + 1)::int4 FROM generate_series(1, 6) g',
        6,
      ),
    ]
    const captureTables = [oid('parent'), oid('child')]
    const deleted = await run('DELETE FROM parent WHERE id = 2', { loads, captureTables })
    expect([...(change(deleted, 'child')?.removed ?? [])]).toEqual([0, 3])
    const updated = await run('UPDATE parent SET id = 30 WHERE id = 3', { loads, captureTables })
    expect(await insertedRows(updated, 'child')).toEqual(['2|30', '5|30'])
    const child = await run('UPDATE child SET parent = 99 WHERE id = 1', {
      loads: loads.slice(1),
      captureTables: [oid('child')],
    })
    expect(child.commandTag).toBe('UPDATE 1')
    const unloaded = await run('DELETE FROM parent WHERE id = 2', {
      loads: loads.slice(0, 1),
      captureTables,
    })
    expect(unloaded.touchedUnloaded).toEqual([oid('child')])
  })

  test('triggers write elsewhere, and their sequence moves', async () => {
    const audit = postgres.catalog().tables.get(oid('audit'))
    const sequence = audit?.columns[0]?.sequenceOid ?? 0
    const result = await run(`INSERT INTO watched VALUES (1, 'a'), (2, 'b')`, {
      captureTables: [oid('watched'), oid('audit')],
      sequences: [{ oid: sequence, lastValue: 41n, isCalled: true }],
    })
    expect(await insertedRows(result, 'audit')).toEqual(['42|INSERT 1', '43|INSERT 2'])
    expect(result.sequences).toEqual([{ oid: sequence, lastValue: 43n, isCalled: true }])
  })

  test('tables that nobody expected to be written are captured too; partitions for their parent', async () => {
    const result = await run(`INSERT INTO watched VALUES (1, 'a')`)
    expect((await insertedRows(result, 'audit'))[0]).toMatch(/\|INSERT 1$/)
    expect(change(result, 'watched')?.insertedCount).toBe(1)
    await ddl(
      postgres,
      'CREATE TABLE parted (k int, v text) PARTITION BY RANGE (k)',
      'CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10)',
      'CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20)',
    )
    const parts = await run(`INSERT INTO parted VALUES (1, 'a'), (11, 'b'), (12, 'c')`, {
      captureTables: [oid('parted')],
    })
    expect(await insertedRows(parts, 'parted_low')).toEqual(['1|a'])
    expect(await insertedRows(parts, 'parted_high')).toEqual(['11|b', '12|c'])
    const loads = [
      await load(postgres, 'public.parted_low', [1, 2], `SELECT 1::int4, 'a'::text`, 1),
      { tableOid: oid('parted_high'), attnums: [1, 2], tuples: new Uint8Array(0), rowCount: 0 },
    ]
    const moved = await run('UPDATE parted SET k = k + 10', {
      loads,
      captureTables: [oid('parted')],
    })
    expect([...(change(moved, 'parted_low')?.removed ?? [])]).toEqual([0])
    expect(await insertedRows(moved, 'parted_high')).toEqual(['11|a'])
  })

  test('removed rows stay right over many runs of all sizes', async () => {
    for (let i = 0; i < 60; i += 1) {
      const count = [3, 500, 40, 2000][i % 4] ?? 1
      const victim = 1 + ((i * 37) % count)
      const loads = [await loadT(count)]
      const sql =
        i % 2 === 0
          ? `DELETE FROM t WHERE id = ${victim}`
          : `UPDATE t SET name = repeat('z', 500) WHERE id = ${victim}`
      const result = await run(sql, { loads, captureTables: [oid('t')] })
      expect([...(change(result, 't')?.removed ?? [])]).toEqual([victim - 1])
      expect(change(result, 't')?.insertedCount).toBe(i % 2)
      if (i % 5 === 0)
        await run('INSERT INTO t (id, n) VALUES (7, 7)', { captureTables: [oid('t')] })
      if (i % 7 === 0) await run('UPDATE t SET id = id + 1', { loads, captureTables: [oid('t')] })
    }
  })

  test('rows written and undone inside the statement are no changes', async () => {
    const loads = [await loadT(3)]
    const sql = `DO $$ BEGIN
      INSERT INTO t (id, n) VALUES (10, 1);
      BEGIN DELETE FROM t; INSERT INTO t (id, n) VALUES (11, 1); RAISE EXCEPTION 'undo'; EXCEPTION WHEN raise_exception THEN NULL; END;
      INSERT INTO t (id, n) VALUES (12, 1);
    END $$`
    const result = await run(sql, { loads, captureTables: [oid('t')] })
    expect(change(result, 't')?.removed).toHaveLength(0)
    expect(await insertedRows(result, 't')).toEqual(['10|d|1|2', '12|d|1|2'])
  })

  test('COPY FROM STDIN converts, fills and checks', async () => {
    const copyData = Buffer.from('id,n\n1,2\n2,\n')
    const result = await run('COPY t (id, n) FROM STDIN (FORMAT csv, HEADER)', {
      copyData,
      captureTables: [oid('t')],
    })
    expect(result.commandTag).toBe('COPY 2')
    expect(await insertedRows(result, 't')).toEqual(['1|d|2|4', '2|d|∅|∅'])
    await expect(
      run('COPY t (id, n) FROM STDIN', {
        copyData: Buffer.from('1\tx\n'),
        captureTables: [oid('t')],
      }),
    ).rejects.toMatchObject({
      sqlState: '22P02',
      message: 'invalid input syntax for type integer: "x"',
      fields: { where: 'COPY t, line 1, column n: "x"' },
    })
  })

  test('changes are captured whoever the user is', async () => {
    await ddl(postgres, 'GRANT INSERT ON t TO someone')
    const settings = { ...plainSettings, user: 'someone' }
    const result = await run('INSERT INTO t (id, n) VALUES (1, 1)', {
      settings,
      captureTables: [oid('t')],
    })
    expect(change(result, 't')?.insertedCount).toBe(1)
    await expect(run('DELETE FROM t', { settings })).rejects.toMatchObject({ sqlState: '42501' })
  })
})

describe('errors', () => {
  test('constraints raise as in PostgreSQL, with all fields', async () => {
    const captureTables = [oid('t')]
    await expect(
      run('INSERT INTO t (id, name) VALUES (1, NULL)', { captureTables }),
    ).rejects.toMatchObject({
      sqlState: '23502',
      fields: {
        schema: 'public',
        table: 't',
        column: 'name',
        detail: 'Failing row contains (1, null, null, null).',
      },
    })
    await expect(
      run('INSERT INTO t (id, n) VALUES (1, -1)', { captureTables }),
    ).rejects.toMatchObject({ sqlState: '23514', fields: { constraint: 't_n_check' } })
    await expect(
      run('INSERT INTO t (id) VALUES (1), (1)', { captureTables }),
    ).rejects.toMatchObject({
      sqlState: '23505',
      fields: { constraint: 't_pkey', detail: 'Key (id)=(1) already exists.' },
    })
    await expect(
      run('UPDATE t SET name = NULL', { loads: [await loadT(1)], captureTables }),
    ).rejects.toMatchObject({ sqlState: '23502' })
    await expect(run('SELECT 1/0')).rejects.toBeInstanceOf(DatabaseError)
  })

  test('deep recursion is an error, not the end', async () => {
    await ddl(
      postgres,
      'CREATE FUNCTION deep(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN deep($1 + 1); END $$',
    )
    await expect(run('SELECT deep(0)')).rejects.toMatchObject({
      sqlState: '54001',
      message: 'stack depth limit exceeded',
    })
    expect(await rowsOf(postgres, 'SELECT 1')).toEqual(['1'])
  })

  test('an instance that dies under a statement is replaced', async () => {
    const sql = `DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''cat'''; END $$`
    await expect(run(sql)).rejects.toMatchObject({ sqlState: 'XX000' })
    expect(await rowsOf(postgres, 'SELECT 1')).toEqual(['1'])
  })

  test('no setting of the user makes a plan use an index', async () => {
    const loads = [await loadT(50)]
    const gucs = new Map([['enable_seqscan', 'off']])
    const settings = { ...plainSettings, gucs, key: 'noseq' }
    const rest = { loads, settings }
    expect(await rowsOf(postgres, 'SELECT name FROM t WHERE id = 5', rest)).toEqual(['n5'])
    expect(await rowsOf(postgres, 'SELECT max(id) FROM t', rest)).toEqual(['50'])
  })

  test.each([
    'SELECT pg_sleep(100)',
    'SELECT count(*) FROM generate_series(1, 100000000000) g',
    'DO $$ BEGIN LOOP END LOOP; END $$',
  ])('%s can be cancelled', async (sql) => {
    const controller = new AbortController()
    setTimeout(
      () =>
        controller.abort(
          new DatabaseError('57014', 'canceling statement due to statement timeout'),
        ),
      100,
    )
    await expect(postgres.evaluate(evaluation(sql), controller)).rejects.toMatchObject({
      sqlState: '57014',
    })
    expect(await rowsOf(postgres, 'SELECT count(*) FROM t', { loads: [await loadT(3)] })).toEqual([
      '3',
    ])
  })

  /** Others after the catalog's instance or the evaluator was replaced. */
  async function instances(): Promise<readonly string[]> {
    const born = 'SELECT pg_postmaster_start_time()'
    return [
      ...textRows(await postgres.catalogQuery(evaluation(born), backgroundContext)),
      ...(await rowsOf(postgres, born)),
    ]
  }

  test('cancelling what ends by itself soon costs no instance: nobody waits for a new one', async () => {
    const before = await instances()
    for (const ask of [postgres.catalogQuery, postgres.evaluate]) {
      const controller = new AbortController()
      const cancelled = ask(evaluation('SELECT pg_sleep(0.05)'), controller)
      setTimeout(() => controller.abort(), 10)
      await expect(cancelled).rejects.toMatchObject({ sqlState: '57014' })
    }
    expect(await instances()).toEqual(before)
  })

  test('a cancelled query in the line does not end the one that runs', async () => {
    const before = await instances()
    const controller = new AbortController()
    const running = postgres.catalogQuery(evaluation('SELECT pg_sleep(1.5)'), backgroundContext)
    const behind = postgres.catalogQuery(evaluation('SELECT 1'), controller)
    const last = postgres.catalogQuery(evaluation('SELECT 2'), backgroundContext)
    setTimeout(() => controller.abort(), 10)
    await expect(behind).rejects.toMatchObject({ sqlState: '57014' })
    expect(textRows(await running)).toEqual([''])
    expect(textRows(await last)).toEqual(['2'])
    expect(await instances()).toEqual(before)
  })

  test('a catalog query can be cancelled, and the catalog comes back', async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 100)
    await expect(
      postgres.catalogQuery(evaluation('SELECT pg_sleep(100)'), controller),
    ).rejects.toMatchObject({ sqlState: '57014' })
    expect(
      (await postgres.describe({ sql: 'SELECT * FROM t', parameterTypes: [] }, plainSettings, []))
        .fields,
    ).toHaveLength(4)
  })

  test('whoever waits behind a cancelled catalog query is answered by the next instance', async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 100)
    const cancelled = postgres.catalogQuery(evaluation('SELECT pg_sleep(100)'), controller)
    const others = Promise.all([
      postgres.describe({ sql: 'SELECT * FROM t', parameterTypes: [] }, plainSettings, []),
      postgres.explain({ sql: 'SELECT * FROM t', parameterTypes: [] }, plainSettings, []),
      postgres.catalogQuery(evaluation('SELECT 1'), backgroundContext),
      postgres.tryDdl('CREATE TABLE behind (id int)', plainSettings, []),
    ])
    await expect(cancelled).rejects.toMatchObject({ sqlState: '57014' })
    const [description, plan, one] = await others
    expect(description.fields).toHaveLength(4)
    expect(plan['Relation Name']).toBe('t')
    expect(textRows(one)).toEqual(['1'])
  })
})

describe('sequences', () => {
  test('currval and lastval are the session’s, nextval goes on from the state', async () => {
    const seq =
      [...postgres.catalog().sequences.values()].find(({ name }) => name === 'audit_id_seq')?.oid ??
      0
    const sequences = [{ oid: seq, lastValue: 10n, isCalled: true }]
    const sessionSequences = [{ oid: seq, lastValue: 4n, isCalled: true }]
    expect(
      await rowsOf(postgres, `SELECT currval('audit_id_seq'), lastval()`, {
        sequences,
        sessionSequences,
      }),
    ).toEqual(['4|4'])
    expect(
      await rowsOf(postgres, `SELECT nextval('audit_id_seq'), currval('audit_id_seq')`, {
        sequences,
        sessionSequences,
      }),
    ).toEqual(['11|11'])
    for (let i = 0; i < 2; i += 1) {
      const unknown = await run(`INSERT INTO audit (what) VALUES ('x')`)
      expect(unknown.touchedSequences).toEqual([seq])
    }
    const known = await run(`INSERT INTO audit (what) VALUES ('x')`, { sequences })
    expect(known.touchedSequences).toEqual([])
    expect(known.sequences).toEqual([{ oid: seq, lastValue: 11n, isCalled: true }])
    const untouched = await run('SELECT 1', { sequences })
    expect(untouched.sequences).toEqual(sequences)
    await expect(run(`SELECT currval('audit_id_seq')`, { sequences })).rejects.toMatchObject({
      sqlState: '55000',
    })
    await expect(run('SELECT lastval()')).rejects.toMatchObject({
      sqlState: '55000',
      message: 'lastval is not yet defined in this session',
    })
  })
})

test('a thousand statements do not make it grow', async () => {
  const loads = [await loadT(200)]
  const rounds = async (count: number) => {
    for (let i = 0; i < count; i += 1) {
      await run('SELECT count(*) FROM t', { loads })
      await run('INSERT INTO t (id, n) VALUES (1, 1)', { captureTables: [oid('t')] })
    }
  }
  await rounds(200)
  const before = process.memoryUsage().rss
  await rounds(500)
  expect(process.memoryUsage().rss - before).toBeLessThan(40_000_000)
})

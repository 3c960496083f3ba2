import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { buildCatalog } from '#postgres/build-catalog.js'
import type { DdlEntry, Postgres } from '#postgres/contract.js'
import { ddlStatements } from '#postgres/ddl.arbitrary.js'
import { type Here, Kept, openHere } from '#postgres/embedded-fixture.js'
import { decodeImage, encodeImage } from '#postgres/image-file.js'
import type { ApplyResult, DdlStep, RawCatalog, TryDdlResult } from '#postgres/jobs.js'
import { openPostgres } from '#postgres/open.js'
import {
  ddl,
  evaluation,
  plainSettings,
  rowsOf,
  snapshotPath,
  textRows,
} from '#postgres/postgres-fixture.js'
import { prepareDdl } from '#postgres/table-options.js'

let folder: string
let imagePath: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'elanus-image-'))
  imagePath = join(folder, 'catalog.image')
})
afterAll(() => rm(folder, { recursive: true }))

const open = (ddlLog: readonly DdlEntry[]) => openPostgres({ snapshotPath, ddlLog, imagePath })

/** Rows of system tables that DDL makes, in words that are the same wherever they lie and whoever replays. */
const everything = [
  'pg_class',
  'pg_type',
  'pg_constraint',
  'pg_proc',
  'pg_namespace',
  'pg_attrdef',
  'pg_trigger',
  'pg_authid',
  'pg_index',
  'pg_attribute',
]
  .map(
    (
      name,
    ) => `SELECT '${name} ' || count(*) || ' ' || md5(coalesce(string_agg(row, ',' ORDER BY row), '')) FROM (
      SELECT (to_jsonb(r) - '{relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}'::text[])::text AS row
      FROM ${name} r WHERE ${{ pg_index: 'indrelid', pg_attribute: 'attrelid' }[name] ?? 'oid'} BETWEEN 16384 AND 3000000000) x`,
  )
  .join(' UNION ALL ')

const next = { sql: 'CREATE TABLE next_one (a bigserial PRIMARY KEY, b text UNIQUE)' }

function seen({ embedded, jobs }: Here, nextOid: number) {
  const settings = { user: 'postgres', gucs: [] }
  const step = prepareDdl({ ...next, settings })
  const raw = jobs.run({ kind: 'snapshot' }) as RawCatalog
  const rows = embedded.column(everything)
  const job = { kind: 'tryDdl', pendingDdl: [], step, nextOid } as const
  const tried = jobs.run(job) as TryDdlResult
  return {
    rows,
    catalog: buildCatalog(raw, 0),
    tried: buildCatalog(tried.catalog, 0, buildCatalog(raw, 0)),
  }
}

test('an instance that starts from an image is what replaying makes', {
  timeout: 600_000,
}, async () => {
  const property = fc.asyncProperty(ddlStatements, async (statements) => {
    const kept = await Kept.open()
    for (const sql of statements) {
      try {
        kept.run(sql)
      } catch (error) {
        if ((error as { sqlState?: string }).sqlState === undefined) throw error
      }
    }
    const { steps } = kept
    const apply = (here: Here, some: readonly DdlStep[]): number =>
      (here.jobs.run({ kind: 'apply', steps: some, atomic: false }) as ApplyResult).nextOid
    const half = Math.floor(steps.length / 2)
    const maker = await openHere('catalog')
    apply(maker, steps.slice(0, half))
    const image = maker.jobs.run({ kind: 'image' }) as Uint8Array
    for (const kind of ['catalog', 'evaluator'] as const) {
      const replayed = await openHere(kind)
      const nextOid = apply(replayed, steps)
      const started = await openHere(kind, image)
      expect(apply(started, steps.slice(half))).toBe(nextOid)
      const expected = seen(replayed, nextOid)
      expect(seen(started, nextOid)).toEqual(expected)
      if (kind === 'catalog') expect(expected.catalog).toEqual(kept.current)
      // Of all of them, with nothing left to replay.
      if (kind === 'evaluator') {
        apply(maker, steps.slice(half))
        const whole = await openHere(kind, maker.jobs.run({ kind: 'image' }) as Uint8Array)
        apply(whole, [])
        expect(seen(whole, nextOid)).toEqual(expected)
      }
    }
  })
  await fc.assert(property, { numRuns: 1, endOnFailure: true })
})

async function shown(postgres: Postgres) {
  const { result } = await postgres.tryDdl(next.sql, plainSettings, [])
  const query = evaluation(everything, {})
  return {
    catalog: postgres.catalog(),
    inCatalog: textRows(await postgres.catalogQuery(query, backgroundContext)),
    inEvaluator: await rowsOf(postgres, everything),
    next: result.entry,
  }
}

async function oneLife(log: readonly DdlEntry[], more: readonly string[] = []) {
  const postgres = await open(log)
  try {
    const entries = [...log, ...(await ddl(postgres, ...more))]
    return { entries, shown: await shown(postgres) }
  } finally {
    await postgres.close()
  }
}

/** So many that an image is made. */
const fill = Array.from({ length: 32 }, (_, i) => `CREATE TABLE fill_${i} (id int PRIMARY KEY)`)

test('an image is believed only if it is whole, of this program and of this log', async () => {
  const settings = { user: 'postgres', gucs: [] }
  const log = ['CREATE TABLE a ()', 'CREATE TABLE b ()', 'CREATE TABLE c ()'].map((sql, i) => ({
    sql,
    firstOid: 70_000 + i,
    settings,
  }))
  const image = { version: 2, nextOid: 70_002, files: new Uint8Array([1, 2, 3, 4]) }
  const bytes = Buffer.concat(encodeImage(image, 'p1', log))
  expect(decodeImage(bytes, 'p1', log)).toEqual(image)
  expect(decodeImage(bytes, 'p1', log.slice(0, 2))).toEqual(image)
  expect(decodeImage(bytes, 'p2', log)).toBeUndefined()
  expect(decodeImage(bytes, 'p1', log.slice(0, 1))).toBeUndefined()
  const [first, second] = log
  const changed = { sql: 'CREATE TABLE b (a int)', firstOid: 70_001, settings }
  expect(decodeImage(bytes, 'p1', first === undefined ? [] : [first, changed])).toBeUndefined()
  const moved = second === undefined ? [] : [{ ...second, firstOid: 80_000 }]
  expect(decodeImage(bytes, 'p1', first === undefined ? [] : [first, ...moved])).toBeUndefined()
  for (let at = 0; at < bytes.length; at += 1) {
    const damaged = Buffer.from(bytes)
    damaged[at] = (damaged[at] ?? 0) ^ 0x10
    expect(decodeImage(damaged, 'p1', log)).toBeUndefined()
    expect(decodeImage(bytes.subarray(0, at), 'p1', log)).toBeUndefined()
  }
})

test('what is in the image is not replayed; a damaged image is', { timeout: 600_000 }, async () => {
  await rm(imagePath, { force: true })
  const { entries } = await oneLife([], fill)
  const honest = await oneLife(entries)
  const bytes = await readFile(imagePath)
  // Its last entry is said to be another one: who starts from it cannot know.
  const headBytes = bytes.readUInt32LE(12)
  const head = JSON.parse(bytes.toString('utf8', 16, 16 + headBytes)) as {
    program: string
    nextOid: number
  }
  const last = entries.at(-1)
  if (last === undefined) throw new Error('no entries')
  const other = [
    ...entries.slice(0, -1),
    { ...last, sql: 'CREATE TABLE other (id int PRIMARY KEY)' },
  ]
  const image = {
    version: other.length,
    nextOid: head.nextOid,
    files: bytes.subarray(16 + headBytes),
  }
  await writeFile(imagePath, Buffer.concat(encodeImage(image, head.program, other)))
  const believed = await oneLife(other)
  expect(believed.shown.catalog.tablesByName.has('public.fill_31')).toBe(true)
  expect(believed.shown.catalog.tablesByName.has('public.other')).toBe(false)

  bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 1
  await writeFile(imagePath, bytes)
  const mended = await oneLife(entries)
  expect(mended.shown).toEqual(honest.shown)
  // And a whole one takes its place.
  expect((await readFile(imagePath)).equals(bytes)).toBe(false)
})

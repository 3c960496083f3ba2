/**
 * Scripts of SQL here and in the embedded PostgreSQL alone, by hand, statement by statement:
 * node --import tsx --conditions=source test/regression/run.ts --sql FOLDER [--out FOLDER] NAME…
 *
 * FOLDER has PostgreSQL's src/test/regress/sql (not in this repository); NAME is a file's without `.sql`. Each has a server of its own, after
 * test_setup.sql as far as it goes. What is refused here with 0A000 is not done there either, so that both go on alike. Told are
 * statements that answer differently, with other rows or another SQLSTATE; after the first of a kind others may follow from it.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { PGlite } from '@electric-sql/pglite'
import { vector } from '@electric-sql/pglite-pgvector'
import pg from 'pg'
import { startServer } from '../server.js'
import { splitScript } from './split.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { sql: { type: 'string' }, out: { type: 'string', default: 'build/regression' } },
})
const { sql: folder, out } = values
if (folder === undefined || positionals.length === 0) {
  throw new Error('usage: run.ts --sql FOLDER [--out FOLDER] NAME…')
}

interface Answer {
  readonly rows?: readonly unknown[][]
  readonly state?: string
  readonly message?: string
}

type Ask = (sql: string) => Promise<Answer>

/** Values as PostgreSQL spells them. */
const asText = { getTypeParser: () => (value: string) => value }
/** Differ by what they are about, or are psql's and the machine's. */
const leftOut =
  /^(explain|vacuum|analyze|cluster|reindex|checkpoint|listen|notify|copy|alter system|create (tablespace|subscription|publication|foreign|server|event trigger|access method|materialized))\b/i
const volatile =
  /\b(now|clock_timestamp|random|gen_random_uuid|pg_backend_pid|txid_current|pg_current_xact|ctid|xmin|xmax|cmin|cmax|pg_relation_filenode|current_timestamp|oid|relpages|reltuples|pg_stat|version\(\)|pg_locks|timeofday|::oid)/i

/** What only the session that made them sees: kept for all, so that there is something to compare. */
function ordinary(sql: string): string {
  return sql
    .replace(/\bcreate\s+((local|global)\s+)?temp(orary)?\s+(table|view|sequence)\b/gi, 'CREATE $4')
    .replace(/\bon commit (drop|preserve rows|delete rows)\b/gi, '')
    .replace(/\bpg_temp\./g, '')
    .replace(/\bcreate\s+unlogged\s+table/gi, 'CREATE TABLE')
}

async function compare(name: string): Promise<void> {
  const server = await startServer({ args: ['--evaluators', '1', '--log-level', 'error'] })
  const client = new pg.Client(server.url)
  client.on('error', () => {})
  await client.connect()
  const alone = await PGlite.create({ extensions: { vector } })
  const counts = { same: 0, 'both refuse': 0, 'not here': 0, differ: 0, 'left out': 0 }
  const told: string[] = []
  const here: Ask = async (sql) => {
    try {
      const query = { text: sql, rowMode: 'array' as const, types: asText }
      // Of several statements in one text there are several answers.
      const found: unknown = await client.query(query)
      const last = (Array.isArray(found) ? found.at(-1) : found) as { rows?: unknown[][] }
      return { rows: last.rows ?? [] }
    } catch (error) {
      const { code, message } = error as pg.DatabaseError
      return { state: code ?? 'none', message }
    }
  }
  const identity = Object.fromEntries(Array.from({ length: 20_000 }, (_, oid) => [oid, String]))
  const there: Ask = async (sql) => {
    try {
      const found = await alone.exec(sql, { rowMode: 'array', parsers: identity })
      return { rows: (found.at(-1)?.rows ?? []) as unknown[][] }
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      return { state: code ?? 'none', message }
    }
  }
  let inBlock = false
  const both = async (statement: string, isTold: boolean): Promise<void> => {
    const sql = ordinary(statement)
    if (leftOut.test(sql)) {
      counts['left out'] += 1
      return
    }
    const found = await here(sql)
    if (found.state === '0A000') {
      counts['not here'] += 1
      if (inBlock) await there('SELECT 1/0')
      return
    }
    const wanted = await there(sql)
    if (/^\s*(begin|start transaction)/i.test(sql)) inBlock = true
    if (/^\s*(commit|end|rollback|abort)\b/i.test(sql) && !/\bto\b/i.test(sql)) inBlock = false
    const isAlike = found.state === wanted.state
    if (isAlike && (volatile.test(sql) || textOf(found) === textOf(wanted))) {
      counts[found.state === undefined ? 'same' : 'both refuse'] += 1
      return
    }
    counts.differ += 1
    if (!isTold) return
    const say = ({ rows, state, message }: Answer) =>
      (state === undefined ? JSON.stringify(rows) : `${state} ${message}`).slice(0, 600)
    told.push(`${sql}\n-- here:  ${say(found)}\n-- there: ${say(wanted)}\n`)
  }
  const read = (file: string) =>
    splitScript(readFileSync(join(folder ?? '', `${file}.sql`), 'utf8'))
  try {
    for (const sql of read('test_setup'))
      if (!/TABLESPACE|^COPY|language c\b|regresslib|INHERITS/i.test(sql)) await both(sql, false)
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] = 0
    for (const sql of read(name)) await both(sql, true)
  } finally {
    await client.end().catch(() => {})
    await server.stop()
    await alone.close()
  }
  mkdirSync(out, { recursive: true })
  writeFileSync(join(out, `${name}.txt`), told.join('\n'))
  process.stdout.write(`${name}: ${JSON.stringify(counts)}\n`)
}

function textOf({ rows = [] }: Answer): string {
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .join('\n')
}

for (const name of positionals) await compare(name)
process.exit(0)

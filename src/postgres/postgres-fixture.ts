/** For tests: an embedded PostgreSQL, and short ways to ask it. Not part of the product. */
import { existsSync, readFileSync } from 'node:fs'
import { backgroundContext, type Context } from '#base/context.js'
import { BackendMessages, parseDataRow } from '#net/pgwire/backend-parse.js'
import type {
  BoundStatement,
  CatalogSnapshot,
  DdlEntry,
  Evaluation,
  EvaluationResult,
  Postgres,
  SessionSettings,
  TableLoad,
} from '#postgres/contract.js'
import { openPostgres } from '#postgres/open.js'

const root = new URL('../../', import.meta.url)
export const snapshotPath = new URL('build/snapshot/postgres.snapshot', root).pathname

/** Makes the snapshot if the build has not. */
export async function openTestPostgres(ddlLog: readonly DdlEntry[] = []): Promise<Postgres> {
  if (!existsSync(snapshotPath)) {
    const { makeSnapshot } = await import('#postgres/make-snapshot.js')
    const read = (name: string): string => readFileSync(new URL(`sql/${name}.sql`, root), 'utf8')
    await makeSnapshot(snapshotPath, `${read('bootstrap')}\n${read('live')}`)
  }
  return openPostgres({ snapshotPath, ddlLog })
}

export const plainSettings: SessionSettings = {
  user: 'postgres',
  gucs: new Map([['search_path', '"$user", public']]),
  key: 'plain',
}

export function settingsOf(gucs: Record<string, string>, user = 'postgres'): SessionSettings {
  return { user, gucs: new Map(Object.entries(gucs)), key: JSON.stringify(gucs) }
}

/** Tries and applies, as the write path does. */
export async function ddl(postgres: Postgres, ...statements: string[]): Promise<DdlEntry[]> {
  const entries: DdlEntry[] = []
  for (const sql of statements) {
    const { result } = await postgres.tryDdl(sql, plainSettings, [])
    await postgres.applyDdl([result.entry])
    entries.push(result.entry)
  }
  return entries
}

export function bound(sql: string, ...parameters: (string | null)[]): BoundStatement {
  return {
    sql,
    parameterTypes: [],
    parameters: parameters.map((p) => (p === null ? null : Buffer.from(p))),
    parameterFormats: [],
    resultFormats: [],
  }
}

export function evaluation(sql: string, rest: Partial<Evaluation> = {}): Evaluation {
  return {
    statement: bound(sql),
    settings: plainSettings,
    pendingDdl: [],
    loads: [],
    sequences: [],
    sessionSequences: [],
    captureTables: [],
    ...rest,
  }
}

/** Rows in text, columns joined by '|'; NULL is ∅. */
export function textRows(result: EvaluationResult): string[] {
  const out: string[] = []
  const messages = new BackendMessages(result.dataRows)
  while (messages.next()) {
    out.push(
      parseDataRow(messages.payload())
        .map((value) => (value === null ? '∅' : Buffer.from(value).toString()))
        .join('|'),
    )
  }
  return out
}

/** COPY BINARY tuples of a query's rows, made by PostgreSQL. */
export async function tuplesOf(postgres: Postgres, sql: string): Promise<Uint8Array> {
  const result = await postgres.catalogQuery(
    evaluation(`COPY (${sql}) TO STDOUT (FORMAT binary)`),
    backgroundContext,
  )
  const messages = new BackendMessages(result.dataRows)
  const pieces: Uint8Array[] = []
  while (messages.next()) pieces.push(messages.payload())
  const all = Buffer.concat(pieces)
  return all.subarray(19, all.length - 2)
}

export async function load(
  postgres: Postgres,
  table: string,
  attnums: readonly number[],
  sql: string,
  rowCount: number,
  catalog: CatalogSnapshot = postgres.catalog(),
): Promise<TableLoad> {
  const tableOid = catalog.tablesByName.get(table)?.oid ?? 0
  return { tableOid, attnums, tuples: await tuplesOf(postgres, sql), rowCount, isWhole: true }
}

export function rowsOf(
  postgres: Postgres,
  sql: string,
  rest: Partial<Evaluation> = {},
  context: Context = backgroundContext,
): Promise<string[]> {
  return postgres.evaluate(evaluation(sql, rest), context).then(textRows)
}

/**
 * Unique indexes that are partial or over expressions: storage knows neither, so PostgreSQL judges the rows that may have
 * the new rows' keys. Whoever brings a key holds it until the transaction ends, and looks at what is committed then: so two
 * transactions cannot both bring it, on whichever proxies they are: a commit under a lock that was lost is refused.
 *
 * A partial index over plain columns costs one native scan for the new keys, an expression a scan of the whole table.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { FilterNode } from '#engine/plan/filter.js'
import { datumToFilterValue } from '#engine/plan/filter-value.js'
import { quoteIdentifier } from '#nodes/proxy/plan/expression.js'
import { Settings } from '#nodes/proxy/session/settings.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { holdLocks } from '#nodes/proxy/statements/hold-locks.js'
import {
  type LoadedRows,
  loadRows,
  storedColumns,
  toTableLoad,
} from '#nodes/proxy/statements/read-rows.js'
import type { ConditionalKey, TableInfo } from '#postgres/contract.js'

/** @returns false after waiting for another transaction: the statement must look again. @throws 40P01, 55P03 */
export async function holdConditionalKeys(
  execution: Execution,
  changes: readonly CapturedChange[],
): Promise<boolean> {
  for (const { table, inserted } of changes) {
    if (inserted.rowCount === 0) continue
    for (const key of table.conditionalKeys) {
      const rows = {
        table,
        attnums: storedColumns(table).map(({ attnum }) => attnum),
        rowIds: new Float64Array(),
        batches: [inserted],
        rowCount: inserted.rowCount,
      }
      const texts = await judge(execution, rows, `${keysSql(table, key)}`)
      const names = texts.map((values) => `${key.indexOid}/${JSON.stringify(values)}`)
      const sorted = [...new Set(names)].sort()
      const wanted = { space: table.oid, names: sorted, mode: 'exclusive' } as const
      if (!(await holdLocks(execution, wanted))) return false
    }
  }
  return true
}

/** When the changes are part of the transaction. @throws 23505 */
export async function checkConditionalKeys(
  execution: Execution,
  changes: readonly CapturedChange[],
): Promise<void> {
  for (const change of changes) {
    if (change.inserted.rowCount === 0) continue
    for (const key of change.table.conditionalKeys) await checkKey(execution, change, key)
  }
}

async function checkKey(
  execution: Execution,
  change: CapturedChange,
  key: ConditionalKey,
): Promise<void> {
  const { table } = change
  const readAt = await execution.environment.streaming.strongTimestamp()
  const rows = await loadRows(execution, table, columnsOf(table, key), readAt, {
    filter: sameKeys(change, key),
  })
  const grouped = key.expressions.map((expression) => `(${expression})`).join(', ')
  const [twice] = await judge(
    execution,
    rows,
    `${keysSql(table, key)} GROUP BY ${grouped} HAVING count(*) > 1 LIMIT 1`,
  )
  if (twice === undefined) return
  const values = twice.map((value) => value ?? 'null').join(', ')
  throw new DatabaseError(
    SqlState.uniqueViolation,
    `duplicate key value violates unique constraint "${key.name}"`,
    {
      detail: `Key (${key.expressions.join(', ')})=(${values}) already exists.`,
      schema: table.schemaName,
      table: table.name,
      constraint: key.name,
    },
  )
}

function keysSql(table: TableInfo, key: ConditionalKey): string {
  const { expressions, condition, nullsNotDistinct } = key
  const conditions = [
    ...(condition === null ? [] : [`(${condition})`]),
    ...(nullsNotDistinct ? [] : expressions.map((expression) => `(${expression}) IS NOT NULL`)),
  ]
  const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
  const list = expressions.map((expression) => `(${expression})::text`).join(', ')
  const name = `${quoteIdentifier(table.schemaName)}.${quoteIdentifier(table.name)}`
  return `SELECT ${list} FROM ONLY ${name}${where}`
}

/** Columns that the index may look at: those whose names occur in its definition. */
function columnsOf(table: TableInfo, key: ConditionalKey): readonly number[] {
  const text = `${key.expressions.join(' ')} ${key.condition ?? ''}`
  const named = storedColumns(table).filter(
    ({ attnum, name }) => key.attnums.includes(attnum) || text.includes(name.replaceAll('"', '""')),
  )
  // A whole-row expression names none.
  return (named.length === 0 ? storedColumns(table) : named).map(({ attnum }) => attnum)
}

const comparedAs: Readonly<Record<string, 'native' | 'bytes'>> = {
  int2: 'native',
  int4: 'native',
  int8: 'native',
  text: 'bytes',
  varchar: 'bytes',
  uuid: 'bytes',
}
const valueCountMax = 1000

/** Lets through what has the same value in one plain column of the key as any new row. */
function sameKeys(
  { table, inserted }: CapturedChange,
  key: ConditionalKey,
): FilterNode | undefined {
  if (inserted.rowCount > valueCountMax) return undefined
  const stored = storedColumns(table)
  for (const attnum of key.attnums) {
    const position = stored.findIndex((candidate) => candidate.attnum === attnum)
    const definition = stored[position]
    const column = inserted.columns[position]
    const as = comparedAs[definition?.typeName ?? '']
    if (definition === undefined || column === undefined || as === undefined) continue
    const values = Array.from({ length: inserted.rowCount }, (_, row) => {
      const datum = readDatum(column, row, definition.typeName)
      return datum === null ? undefined : datumToFilterValue(definition, datum)
    }).filter((value) => value !== undefined)
    if (values.length < inserted.rowCount) continue
    return { op: 'in', attnum, as, values, hasNull: false }
  }
  return undefined
}

/** As the superuser: whoever may insert need not be allowed to read. */
async function judge(
  execution: Execution,
  rows: LoadedRows,
  sql: string,
): Promise<readonly (readonly (string | null)[])[]> {
  if (rows.rowCount === 0) return []
  const statement = {
    sql,
    parameterTypes: [],
    parameters: [],
    parameterFormats: [],
    resultFormats: [],
  }
  const result = await execution.environment.postgres.evaluate(
    {
      ...evaluationOf(execution, statement, [toTableLoad(rows)]),
      settings: new Settings('postgres', new Map(), () => {}).session(),
    },
    execution.context,
  )
  const decoder = new TextDecoder()
  return [...dataRows(result)].map((row) =>
    row.map((value) => (value === null ? null : decoder.decode(value))),
  )
}

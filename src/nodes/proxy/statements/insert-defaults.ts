/** Defaults of columns that were not given, and what about a table only PostgreSQL can do. */
import type { Datum } from '#engine/columnar/column.js'
import { int32Datum, int64Datum } from '#engine/columnar/read-datum.js'
import { parseText } from '#engine/types/parse-text.js'
import { evaluateValues } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { EvaluationResult, TableColumn, TableInfo } from '#postgres/contract.js'

/** True when rows cannot be made without PostgreSQL: checks, triggers, generated columns, row security, foreign keys, domains. */
export function needsPostgres(table: TableInfo, given: readonly TableColumn[]): boolean {
  if (
    table.hasTriggers ||
    table.hasCheckConstraints ||
    table.hasRowSecurity ||
    table.foreignKeys.length > 0 ||
    table.conditionalKeys.length > 0
  )
    return true
  if (table.parentOid !== 0) return true
  return table.columns.some(
    (column) =>
      column.generated !== '' ||
      (given.every((other) => other.attnum !== column.attnum) && !hasSimpleDefault(column)),
  )
}

/** None, nextval of its own sequence, or an expression that has one value for a whole statement. */
function hasSimpleDefault(column: TableColumn): boolean {
  const text = column.defaultExpression
  if (text === null) return column.identity === '' || column.sequenceOid !== 0
  if (column.sequenceOid !== 0 && /^nextval\('/.test(text)) return true
  return /^(now\(\)|CURRENT_TIMESTAMP|CURRENT_DATE|'(?:[^']|'')*'::[a-z ]+|-?\d+(?:\.\d+)?|true|false|NULL::[a-z ]+)$/.test(
    text,
  )
}

/**
 * Values of the defaults: one per row for sequences, a single one otherwise.
 * @throws 2200H when a sequence is exhausted
 */
export async function defaultsFor(
  execution: Execution,
  columns: readonly TableColumn[],
  rowCountOf: (column: TableColumn) => number,
): Promise<ReadonlyMap<number, readonly Datum[]>> {
  const values = new Map<number, readonly Datum[]>()
  for (const column of columns) {
    const info = execution.catalog.sequences.get(column.sequenceOid)
    const drawn = column.identity !== '' || /^nextval\('/.test(column.defaultExpression ?? '')
    if (info !== undefined && drawn) {
      const numbers = await execution.environment.sequences.next(info, rowCountOf(column))
      const last = numbers.at(-1)
      if (last !== undefined) {
        const kept = execution.memory.sessionSequences.filter((state) => state.oid !== info.oid)
        execution.memory.sessionSequences = [
          ...kept,
          { oid: info.oid, lastValue: last, isCalled: true },
        ]
      }
      values.set(
        column.attnum,
        numbers.map((number) => integerDatum(number, column.typeName)),
      )
    } else if (column.defaultExpression !== null) {
      const plain = plainDefault(column, execution)
      if (plain !== undefined) {
        values.set(column.attnum, [plain])
        continue
      }
      const [value] = await evaluateValues(
        execution,
        `SELECT (${column.defaultExpression})::${column.typeName}`,
        [],
        false,
      )
      values.set(column.attnum, [value ?? null])
    }
  }
  return values
}

/** Defaults that are seen to be a constant or the transaction's time; undefined: PostgreSQL evaluates it. */
function plainDefault(column: TableColumn, execution: Execution): Datum | undefined {
  const text = column.defaultExpression ?? ''
  if (
    column.typeName === 'timestamptz' &&
    column.typmod < 0 &&
    (text === 'now()' || text === 'CURRENT_TIMESTAMP')
  ) {
    // Microseconds since 2000-01-01.
    return int64Datum(
      (BigInt(Math.trunc(execution.transaction.startMs)) - 946_684_800_000n) * 1000n,
    )
  }
  const literal = /^'((?:[^']|'')*)'::[a-z ]+$/.exec(text)?.[1]?.replaceAll("''", "'")
  const plain = literal ?? (/^(-?\d+(\.\d+)?|true|false)$/.test(text) ? text : undefined)
  if (plain === undefined || (column.typmod >= 0 && column.typeName !== 'varchar')) return undefined
  return parseText(column.typeName, column.typmod, plain, execution.settings.types())
}

function integerDatum(value: bigint, typeName: string): Uint8Array {
  if (typeName === 'int8') return int64Datum(value)
  if (typeName === 'int4') return int32Datum(Number(value))
  return new Uint8Array([Number((value >> 8n) & 0xffn), Number(value & 0xffn)])
}

export function capturedRows(result: EvaluationResult): number {
  const count = /(\d+)$/.exec(result.commandTag)?.[1]
  return count === undefined ? 0 : Number(count)
}

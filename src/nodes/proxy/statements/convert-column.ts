/**
 * Values that the native codecs leave to PostgreSQL: raw text of COPY (types without a native parser, forms that only
 * PostgreSQL knows), and binary values nobody has validated. All rows of a column at once, as one array parameter.
 */
import type { Column, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder, isNull } from '#engine/columnar/column-builder.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TableColumn } from '#postgres/contract.js'

const textOid = 25
const textArrayOid = 1009
const rowsPerQuery = 20_000

/** Raw text → values of the column's type. @throws what the type's input function raises */
export function convertText(
  execution: Execution,
  raw: Column,
  target: TableColumn,
): Promise<Column> {
  return convert(execution, raw, target, textOid, textArrayOid)
}

/** Binary values that may be nonsense → the same values, received by PostgreSQL. @throws 22P03 and the like */
export function convertBinary(
  execution: Execution,
  raw: Column,
  target: TableColumn,
): Promise<Column> {
  return convert(execution, raw, target, target.typeOid, arrayTypeOf(execution, target))
}

async function convert(
  execution: Execution,
  raw: Column,
  target: TableColumn,
  elementOid: number,
  arrayOid: number,
): Promise<Column> {
  const builder = createColumnBuilder(target.kind, target.width, raw.length)
  const step = arrayOid === 0 ? Math.min(rowsPerQuery, 1000) : rowsPerQuery
  for (let from = 0; from < raw.length; from += step) {
    const to = Math.min(raw.length, from + step)
    const statement =
      arrayOid === 0
        ? valuesStatement(raw, from, to, elementOid)
        : {
            sql: `SELECT v::${typeSql(target)} FROM unnest($1) AS v`,
            parameterTypes: [arrayOid],
            parameters: [encodeArray(raw, from, to, elementOid)],
          }
    const result = await execution.environment.postgres.catalogQuery(
      evaluationOf(execution, { ...statement, parameterFormats: [1], resultFormats: [1] }, []),
      execution.context,
    )
    for (const [value] of dataRows(result)) builder.appendDatum(value ?? null)
  }
  return builder.finish()
}

/** Values that no array can hold, being arrays themselves: a parameter each. */
function valuesStatement(column: Column, from: number, to: number, typeOid: number) {
  const parameters: Datum[] = []
  for (let row = from; row < to; row += 1) {
    parameters.push(isNull(column, row) ? null : readDatum(column, row))
  }
  return {
    sql: `SELECT v FROM (VALUES ${parameters.map((_, i) => `($${i + 1})`).join(', ')}) AS t(v)`,
    parameterTypes: parameters.map(() => typeOid),
    parameters,
  }
}

function arrayTypeOf(execution: Execution, target: TableColumn): number {
  for (const [oid, name] of execution.catalog.typeNames)
    if (name === `_${target.typeName}`) return oid
  return 0
}

/** array_recv's form: one dimension, lower bound 1. */
function encodeArray(column: Column, from: number, to: number, elementOid: number): Uint8Array {
  const values: Datum[] = []
  let size = 20
  for (let row = from; row < to; row += 1) {
    const value = isNull(column, row) ? null : readDatum(column, row)
    values.push(value)
    size += 4 + (value?.byteLength ?? 0)
  }
  const out = new Uint8Array(size)
  const view = new DataView(out.buffer)
  view.setInt32(0, 1)
  view.setInt32(4, 1)
  view.setInt32(8, elementOid)
  view.setInt32(12, values.length)
  view.setInt32(16, 1)
  let at = 20
  for (const value of values) {
    view.setInt32(at, value === null ? -1 : value.byteLength)
    at += 4
    if (value === null) continue
    out.set(value, at)
    at += value.byteLength
  }
  return out
}

/** The type with its modifier, as a cast takes it. */
export function typeSql({ typeName, typmod }: Pick<TableColumn, 'typeName' | 'typmod'>): string {
  const name = `"${typeName}"`
  if (typmod < 0) return name
  switch (typeName) {
    case 'numeric': {
      // numeric.c: ((precision << 16) | (scale & 0x7ff)) + VARHDRSZ
      const packed = typmod - 4
      const scale = ((packed & 0x7ff) ^ 1024) - 1024
      return `${name}(${(packed >> 16) & 0xffff}, ${scale})`
    }
    case 'vector':
    case 'halfvec':
    case 'sparsevec':
    case 'time':
    case 'timetz':
    case 'timestamp':
    case 'timestamptz':
      return `${name}(${typmod})`
    default:
      return name
  }
}

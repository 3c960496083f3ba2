/** Key columns of batches, and keys as Datums. */
import { InvariantError } from '#base/errors.js'
import type { Column, ColumnBatch, Datum } from '#engine/columnar/column.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema, KeyConstraint, TableSchema } from '#engine/columnar/schema.js'

export function schemaColumns(
  schema: TableSchema,
  attnums: readonly number[],
): readonly ColumnSchema[] {
  return attnums.map((attnum) => {
    const column = schema.columns.find((candidate) => candidate.attnum === attnum)
    if (column === undefined) throw new InvariantError('KEY-3', `key column ${attnum} is no column`)
    return column
  })
}

/** As encodeKey() wants them. */
export function keyTypeNames(schema: TableSchema, key: KeyConstraint): readonly string[] {
  return schemaColumns(schema, key.attnums).map(({ typeName }) => typeName)
}

/** @param batch all columns of the schema, in its order */
export function keyColumnsOf(
  schema: TableSchema,
  key: KeyConstraint,
  batch: ColumnBatch,
): readonly Column[] {
  return key.attnums.map((attnum) => {
    const position = schema.columns.findIndex((candidate) => candidate.attnum === attnum)
    const column = batch.columns[position]
    if (column === undefined) throw new InvariantError('KEY-3', `key column ${attnum} is missing`)
    return column
  })
}

export function keyDatums(
  columns: readonly Column[],
  schemas: readonly ColumnSchema[],
  row: number,
): Datum[] {
  return columns.map((column, i) => readDatum(column, row, schemas[i]?.typeName))
}

/** Position in a rising array, or -1. */
export function findRising(values: Float64Array, value: number): number {
  let low = 0
  let high = values.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const found = values[middle] ?? 0
    if (found === value) return middle
    if (found < value) low = middle + 1
    else high = middle - 1
  }
  return -1
}

/** Columns and their rows as tables of text: of segments (types are known) and of batches in the log (kinds only). */
import { formatTable } from '#cli/print.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { formatText } from '#engine/types/format-text.js'
import { formatVectorText } from '#engine/types/vector-text.js'
import { describeBytes, describeTimestamp, hex, shorten } from './describe.js'

const cellWidthMax = 40

export interface NamedColumn {
  readonly name: string
  /** pg_type.typname; '' when only the column's kind is known. */
  readonly typeName: string
  readonly column: Column
}

/** The first rows, values as PostgreSQL prints them where their type is known here. */
export function describeRows(
  columns: readonly NamedColumn[],
  rowCount: number,
  limit: number,
): readonly string[] {
  if (limit === 0 || rowCount === 0) return []
  const rows = Array.from({ length: Math.min(limit, rowCount) }, (_, row) =>
    columns.map((column) => shorten(describeCell(column, row), cellWidthMax)),
  )
  const table = formatTable(
    columns.map(({ name }) => name),
    rows,
  )
  const left = rowCount - rows.length
  return [...table.split('\n'), ...(left > 0 ? [`  … and ${left} rows more (--rows N)`] : [])]
}

export function describeCell({ name, typeName, column }: NamedColumn, row: number): string {
  const datum = readDatum(column, row, typeName)
  if (datum === null) return 'NULL'
  switch (column.kind) {
    case 'vector': {
      const at = row * column.dimensions
      return formatVectorText(column.values.subarray(at, at + column.dimensions))
    }
    case 'float64':
      return name === '_inserted' || name === '_deleted'
        ? describeTimestamp(column.values[row] ?? 0)
        : String(column.values[row])
    case 'int16':
    case 'int32':
    case 'int64':
    case 'float32':
    case 'bool':
      return formatDatum(typeName, datum) ?? String(column.values[row])
    case 'fixed':
      return formatDatum(typeName, datum) ?? hex(datum)
    case 'bytes':
      return formatDatum(typeName, datum) ?? describeBytes(datum)
  }
}

/** undefined: the type's text is not known here, or these bytes are none of its values. */
export function formatDatum(typeName: string, datum: Uint8Array): string | undefined {
  try {
    return typeName === '' ? undefined : formatText(typeName, datum)
  } catch {
    return undefined
  }
}

/** `attnums[i]` is what column i of the batch is. */
export function describeBatch(
  batch: ColumnBatch,
  attnums: readonly number[],
  limit: number,
): readonly string[] {
  const columns = batch.columns.map((column, i) => ({
    name: `a${attnums[i] ?? '?'}`,
    typeName: '',
    column,
  }))
  const shapes = columns.map(({ name, column }) => `${name} ${describeShape(column)}`)
  return [shapes.join(', '), ...describeRows(columns, batch.rowCount, limit)]
}

export function describeShape(column: Column): string {
  const width =
    column.kind === 'vector' ? column.dimensions : column.kind === 'fixed' ? column.width : 0
  return width === 0 ? column.kind : `${column.kind}(${width})`
}

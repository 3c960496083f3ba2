import type { Column } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'

/** The column as rows see it that were written before it existed: every row holds ColumnSchema.missing. */
export function missingColumn(
  { kind, width, missing }: Pick<ColumnSchema, 'kind' | 'width' | 'missing'>,
  rowCount: number,
): Column {
  const builder = createColumnBuilder(kind, width, rowCount)
  if (rowCount > 0) builder.appendDatum(missing)
  // Doubling: millions of rows in some twenty copies.
  while (builder.length < rowCount) {
    const rows = Math.min(builder.length, rowCount - builder.length)
    builder.appendColumn(builder.view(), 0, rows)
  }
  return builder.finish()
}

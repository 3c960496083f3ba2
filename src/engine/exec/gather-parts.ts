import { invariant } from '#base/errors.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { createColumnBuilder, widthOf } from '#engine/columnar/column-builder.js'

export interface PickedRow {
  readonly batch: ColumnBatch
  readonly row: number
}

/** Rows of several batches with the same columns as one batch, copied. @param like gives the columns' kinds */
export function gatherParts(rows: readonly PickedRow[], like: ColumnBatch): ColumnBatch {
  const columns = like.columns.map((column, position) => {
    const builder = createColumnBuilder(column.kind, widthOf(column), rows.length)
    for (const { batch, row } of rows) {
      const source = batch.columns[position]
      invariant('EXEC-1', source !== undefined, 'parts with different columns')
      builder.appendColumn(source, row, row + 1)
    }
    return builder.finish()
  })
  return { rowCount: rows.length, columns }
}

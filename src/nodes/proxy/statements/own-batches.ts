/** A transaction's own rows in the columns that the table has now. */
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import type { TableOverlay } from '#nodes/proxy/session/transaction.js'
import type { TableInfo } from '#postgres/contract.js'

/** @param attnums wanted columns; absent: all stored ones, in order */
export function ownBatches(
  table: TableInfo,
  overlay: TableOverlay,
  attnums?: readonly number[],
): readonly ColumnBatch[] {
  const wanted =
    attnums ??
    table.columns.filter((column) => column.generated !== 'v').map((column) => column.attnum)
  return overlay.batches().map(({ batch, attnums: written }) => ({
    rowCount: batch.rowCount,
    columns: wanted.map(
      (attnum) => batch.columns[written.indexOf(attnum)] ?? added(table, attnum, batch.rowCount),
    ),
  }))
}

/** A column added after the rows were written: they have its default. */
export function added(table: TableInfo, attnum: number, rowCount: number): Column {
  const column = table.columns.find((candidate) => candidate.attnum === attnum)
  const builder = createColumnBuilder(column?.kind ?? 'bytes', column?.width ?? 0, rowCount)
  for (let row = 0; row < rowCount; row += 1) builder.appendDatum(column?.missing ?? null)
  return builder.finish()
}

/** Rows → shards, by hash of the primary key; a table without one has its rows in shard 0. */
import { takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { encodeKey, shardOf } from '#engine/columnar/key.js'
import { shardsOf, storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { TableInfo } from '#postgres/contract.js'

export interface RoutedRows {
  readonly shard: number
  readonly batches: readonly ColumnBatch[]
}

/** @param batches all stored columns of the table */
export function routeBatches(
  table: TableInfo,
  batches: readonly ColumnBatch[],
): readonly RoutedRows[] {
  const shards = shardsOf(table)
  const primary = table.keys.find((key) => key.primary)
  if (shards === 1 || primary === undefined)
    return batches.length === 0 ? [] : [{ shard: 0, batches }]
  const columns = storedColumns(table)
  const positions = primary.attnums.map((attnum) =>
    columns.findIndex((column) => column.attnum === attnum),
  )
  const routed: ColumnBatch[][] = Array.from({ length: shards }, () => [])
  for (const batch of batches) {
    const rows: number[][] = Array.from({ length: shards }, () => [])
    const keyColumns = positions.flatMap((position) => {
      const column = batch.columns[position]
      return column === undefined ? [] : [column]
    })
    for (let row = 0; row < batch.rowCount; row += 1) {
      rows[shardOf(encodeKey(keyColumns, row), shards)]?.push(row)
    }
    for (const [shard, list] of rows.entries()) {
      if (list.length > 0) routed[shard]?.push(takeRows(batch, Uint32Array.from(list)))
    }
  }
  return routed.flatMap((list, shard) => (list.length === 0 ? [] : [{ shard, batches: list }]))
}

/** Rows → shards: by hash of the primary key; of a table without one, batch by batch wherever. */
import { takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import { encodeKey, shardOf } from '#engine/columnar/key.js'
import type { ColumnSchema, KeyConstraint } from '#engine/columnar/schema.js'
import { keyColumns } from '#engine/segment/key-index.js'

type RoutedColumn = Pick<ColumnSchema, 'attnum' | 'typeName' | 'kind' | 'width'>

export interface RoutedTable {
  /** Stored ones, in the order of batches. */
  readonly columns: readonly RoutedColumn[]
  readonly keys: readonly KeyConstraint[]
  readonly shardCount: number
}

export interface RoutedRows {
  readonly shard: number
  readonly batches: readonly ColumnBatch[]
}

/** Batches of a table without a primary key are cut into pieces of this size, so that a large load is spread. */
const pieceRowCount = 1024

/** @param random uniform in [0, 1): where rows go that nobody looks for by key */
export function routeBatches(
  table: RoutedTable,
  batches: readonly ColumnBatch[],
  random: () => number,
): readonly RoutedRows[] {
  const { shardCount } = table
  if (batches.length === 0) return []
  if (shardCount === 1) return [{ shard: 0, batches }]
  const primary = table.keys.find((key) => key.primary)
  const routed: ColumnBatch[][] = Array.from({ length: shardCount }, () => [])
  for (const batch of batches) {
    const rows =
      primary === undefined
        ? anywhere(batch.rowCount, shardCount, random)
        : byHash(table, primary, batch)
    for (const [shard, list] of rows.entries()) {
      if (list.length === 0) continue
      const whole = list.length === batch.rowCount
      routed[shard]?.push(whole ? batch : takeRows(batch, Uint32Array.from(list)))
    }
  }
  return routed.flatMap((list, shard) => (list.length === 0 ? [] : [{ shard, batches: list }]))
}

function byHash(table: RoutedTable, primary: KeyConstraint, batch: ColumnBatch): number[][] {
  const rows: number[][] = Array.from({ length: table.shardCount }, () => [])
  const positions = primary.attnums.map((attnum) =>
    table.columns.findIndex((column) => column.attnum === attnum),
  )
  const columns = positions.flatMap((position) => batch.columns[position] ?? [])
  const typeNames = positions.map((position) => table.columns[position]?.typeName ?? '')
  for (let row = 0; row < batch.rowCount; row += 1) {
    rows[shardOf(encodeKey(columns, row, typeNames), table.shardCount)]?.push(row)
  }
  return rows
}

function anywhere(rowCount: number, shardCount: number, random: () => number): number[][] {
  const rows: number[][] = Array.from({ length: shardCount }, () => [])
  let shard = Math.floor(random() * shardCount)
  for (let row = 0; row < rowCount; row += 1) {
    if (row > 0 && row % pieceRowCount === 0) shard = (shard + 1) % shardCount
    rows[shard]?.push(row)
  }
  return rows
}

/** The shards that rows with these primary keys lie in, ascending. */
export function routeKeys(
  table: RoutedTable,
  primary: KeyConstraint,
  keys: readonly (readonly Datum[])[],
): readonly number[] {
  const columns = primary.attnums.flatMap(
    (attnum) => table.columns.find((column) => column.attnum === attnum) ?? [],
  )
  const typeNames = columns.map(({ typeName }) => typeName)
  const values = keyColumns(columns, keys)
  const shards = new Set<number>()
  for (let row = 0; row < keys.length; row += 1)
    shards.add(shardOf(encodeKey(values, row, typeNames), table.shardCount))
  return [...shards].sort((a, b) => a - b)
}

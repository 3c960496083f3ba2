import type { ColumnBatch } from '#engine/columnar/column.js'
import type { TableInfo } from '#postgres/contract.js'

/** What one statement did to one table. */
export interface CapturedChange {
  readonly table: TableInfo
  readonly removed: Uint32Array
  /** All stored columns, in attnum order. */
  readonly inserted: ColumnBatch
}

import type { ColumnBatch } from '#engine/columnar/column.js'

/** Rows taken out of a growing segment when it is sealed: immutable, ascending row ids, only committed rows. */
export interface SealedRows {
  readonly tableId: number
  readonly shard: number
  readonly incarnation: number
  /** Attribute numbers of batch.columns. */
  readonly attnums: readonly number[]
  readonly batch: ColumnBatch
  readonly rowIds: Float64Array
  readonly inserted: Float64Array
  /** +Infinity = live. */
  readonly deleted: Float64Array
}

/**
 * What a fragment is executed over: one segment as a reader sees it, growing or sealed. A value of this type is a view
 * taken at one moment: `rowCount` does not move while it is used, buffers may be longer, and rows below `rowCount` do
 * not change except that their deleted timestamp may drop from +Infinity to a timestamp above every served read.
 *
 * Whoever hands out a view keeps the buffers and the native handle alive until the reader is done with it.
 */
import type { Column } from '#engine/columnar/column.js'
import type { NativeSegment } from '#engine/index/native.js'
import type { KeyIndex } from '#engine/segment/key-index.js'

export interface ReadableSegment {
  readonly segmentId: number
  readonly stage: 'growing' | 'sealed'
  /** Rows 0..rowCount-1 are looked at. */
  readonly rowCount: number
  readonly native: NativeSegment
  /** Ascending, at least rowCount long; no row id twice. */
  readonly rowIds: Float64Array
  /** Commit timestamps, at least rowCount long; +Infinity = not committed. The same arrays that `native` was given. */
  readonly inserted: Float64Array
  /** +Infinity = live. */
  readonly deleted: Float64Array
  /**
   * The column, at least rowCount long; what the segment lacks (added later) as a constant from ColumnSchema.missing.
   * @throws InvariantError when the schema has no such column
   */
  column(attnum: number): Column
  /** Makes sure that `native` knows these columns (with at least rowCount rows). Called before every native call. */
  prepare(attnums: readonly number[]): void
  /**
   * Hash index of a unique key over (at least) rows 0..rowCount-1, built when first asked for (a sealed segment builds it
   * in slices, hence the promise); undefined when the schema knows no such key. Ordinals at or beyond rowCount are not
   * part of this view.
   */
  keyIndex(indexOid: number): KeyIndex | Promise<KeyIndex> | undefined
}

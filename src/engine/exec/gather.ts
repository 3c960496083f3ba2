/** Rows found in several segments become one batch. */
import { invariant } from '#base/errors.js'
import { sliceColumn, takeColumn } from '#engine/columnar/batch.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { createColumnBuilder, widthOf } from '#engine/columnar/column-builder.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/** Hits: positions in a list of segments, and rows in them. */
export interface Hits {
  readonly count: number
  readonly segments: Uint32Array
  readonly ordinals: Uint32Array
}

/** Row i is hit from + i. */
export function gatherHits(
  segments: readonly ReadableSegment[],
  hits: Hits,
  output: readonly number[],
  from = 0,
  to = hits.count,
): ColumnBatch {
  const rowCount = to - from
  const first = hits.segments[from] ?? 0
  const single = hits.segments.subarray(from, to).every((position) => position === first)
  if (single && rowCount > 0) {
    return gatherRows(segmentAt(segments, first), hits.ordinals.subarray(from, to), output)
  }
  return {
    rowCount,
    columns: output.map((attnum) => gatherColumn(segments, hits, attnum, from, to)),
  }
}

function gatherColumn(
  segments: readonly ReadableSegment[],
  hits: Hits,
  attnum: number,
  from: number,
  to: number,
): Column {
  const columns = segments.map((segment) => segment.column(attnum))
  const [like] = columns
  invariant('EXEC-1', like !== undefined, 'no segment to take rows from')
  const builder = createColumnBuilder(like.kind, widthOf(like), to - from)
  for (let hit = from; hit < to; hit += 1) {
    const column = columns[hits.segments[hit] ?? 0]
    const ordinal = hits.ordinals[hit] ?? 0
    invariant('EXEC-1', column !== undefined, 'hit in no segment')
    builder.appendColumn(column, ordinal, ordinal + 1)
  }
  return builder.finish()
}

/**
 * Rows of one segment; ascending neighbours are views of the segment's memory, others are copied.
 * @param ordinals at least one
 */
export function gatherRows(
  segment: ReadableSegment,
  ordinals: Uint32Array,
  output: readonly number[],
): ColumnBatch {
  const rowCount = ordinals.length
  const first = ordinals[0] ?? 0
  const neighbours = isRun(ordinals)
  const columns = output.map((attnum) => {
    const column = segment.column(attnum)
    return neighbours ? sliceColumn(column, first, first + rowCount) : takeColumn(column, ordinals)
  })
  return { rowCount, columns }
}

function isRun(ordinals: Uint32Array): boolean {
  const first = ordinals[0] ?? 0
  for (let i = 1; i < ordinals.length; i += 1) if (ordinals[i] !== first + i) return false
  return true
}

export function gatherRowIds(
  segments: readonly ReadableSegment[],
  hits: Hits,
  from = 0,
  to = hits.count,
): Float64Array {
  const rowIds = new Float64Array(to - from)
  for (let hit = from; hit < to; hit += 1) {
    const segment = segmentAt(segments, hits.segments[hit] ?? 0)
    rowIds[hit - from] = segment.rowIds[hits.ordinals[hit] ?? 0] ?? 0
  }
  return rowIds
}

function segmentAt(segments: readonly ReadableSegment[], position: number): ReadableSegment {
  const segment = segments[position]
  invariant('EXEC-1', segment !== undefined, () => `no segment at ${position}`)
  return segment
}

/** What of a growing segment goes into a sealed one. */
import { invariant } from '#base/errors.js'
import { type Timestamp, timestampMax, timestampZero } from '#base/timestamp.js'
import { sliceBatch, takeRows } from '#engine/columnar/batch.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'

const deletedPartKept = 0.2
/** With a graph over the rows more are kept: without them it would be of no use. */
const deletedPartKeptWithGraph = 0.5

export interface Sealing {
  readonly rows: SealedRows
  /** When the last of the rows that were left out was deleted: reads before it would miss it. 0: none was. */
  readonly readableFrom: Timestamp
}

/**
 * Committed rows, without those deleted at or before `horizon` if they are many. Columns are views of the growing
 * segment where all rows stay; timestamps are copies, because deletes go on. The segment must be closed and have
 * nothing pending.
 */
export function sealRows(segment: GrowingSegment, horizon: Timestamp): Sealing {
  invariant('SEG-5', segment.closed && !segment.hasPending, 'sealing rows that still change')
  const { attnums, batch, rowIds, inserted, deleted } = segment.contents()
  const rowCount = segment.rowCount
  const kept = new Uint32Array(rowCount)
  let count = 0
  let uncommitted = 0
  let readableFrom = timestampZero
  for (let ordinal = 0; ordinal < rowCount; ordinal += 1) {
    if (inserted[ordinal] === timestampMax) {
      uncommitted += 1
      continue
    }
    const deletedAt = (deleted[ordinal] ?? 0) as Timestamp
    if (deletedAt <= horizon) {
      if (deletedAt > readableFrom) readableFrom = deletedAt
      continue
    }
    kept[count] = ordinal
    count += 1
  }
  const base = { tableId: segment.schema.tableId, shard: segment.shard, attnums }
  const incarnation = segment.incarnation
  const partKept = segment.interim.isEmpty ? deletedPartKept : deletedPartKeptWithGraph
  // A few rows that nobody sees any more cost less on disk than copying all others does here.
  const isWorthCopying = uncommitted > 0 || count < rowCount * (1 - partKept)
  if (!isWorthCopying) {
    const rows = {
      ...base,
      incarnation,
      batch: sliceBatch(batch, 0, rowCount),
      rowIds: rowIds.slice(0, rowCount),
      inserted: inserted.slice(0, rowCount),
      deleted: deleted.slice(0, rowCount),
    }
    return { rows, readableFrom: timestampZero }
  }
  const ordinals = kept.subarray(0, count)
  const rows = {
    ...base,
    incarnation,
    batch: takeRows(batch, ordinals),
    rowIds: take(rowIds, ordinals),
    inserted: take(inserted, ordinals),
    deleted: take(deleted, ordinals),
  }
  return { rows, readableFrom }
}

function take(values: Float64Array, rows: Uint32Array): Float64Array {
  const taken = new Float64Array(rows.length)
  for (let i = 0; i < rows.length; i += 1) taken[i] = values[rows[i] ?? 0] ?? 0
  return taken
}

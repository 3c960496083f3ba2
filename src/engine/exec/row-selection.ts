/** Lists of row ids as bitsets over a segment's rows (bit i set = row i, LSB first): what native code understands. */

import { lowerBound } from '#engine/segment/lower-bound.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/**
 * Rows that are in `allowed` (if given) and not in `excluded` (if given); both ascending.
 * @returns undefined: all rows; 'none': no row
 */
export function selectRows(
  segment: ReadableSegment,
  allowed: Float64Array | undefined,
  excluded: Float64Array | undefined,
): Uint8Array | 'none' | undefined {
  const { rowCount } = segment
  const kept = allowed === undefined ? undefined : idsWithin(segment, allowed)
  const left = excluded === undefined ? undefined : idsWithin(segment, excluded)
  if (rowCount === 0 || kept?.length === 0) return 'none'
  if (kept === undefined && (left === undefined || left.length === 0)) return undefined
  const bits = new Uint8Array((rowCount + 7) >> 3)
  if (kept === undefined) bits.fill(0xff)
  else {
    forEachOrdinal(segment, kept, (ordinal) => {
      bits[ordinal >> 3] = (bits[ordinal >> 3] ?? 0) | (1 << (ordinal & 7))
    })
  }
  if (left !== undefined) {
    forEachOrdinal(segment, left, (ordinal) => {
      bits[ordinal >> 3] = (bits[ordinal >> 3] ?? 0) & ~(1 << (ordinal & 7))
    })
  }
  return bits
}

/** The part of an ascending list that lies between the segment's first and last row id. */
function idsWithin({ rowIds, rowCount }: ReadableSegment, ids: Float64Array): Float64Array {
  if (rowCount === 0) return ids.subarray(0, 0)
  const from = lowerBound(ids, rowIds[0] ?? 0, 0)
  const to = lowerBound(ids, (rowIds[rowCount - 1] ?? 0) + 1, from)
  return ids.subarray(from, to)
}

/** Calls back with the ordinal of every one of `ids` that the segment holds, ascending. */
function forEachOrdinal(
  { rowIds, rowCount }: ReadableSegment,
  ids: Float64Array,
  visit: (ordinal: number) => void,
): void {
  const first = rowIds[0] ?? 0
  // The usual case apart: no gaps, the row id tells the ordinal.
  if ((rowIds[rowCount - 1] ?? 0) - first === rowCount - 1) {
    for (let i = 0; i < ids.length; i += 1) visit((ids[i] ?? 0) - first)
    return
  }
  let ordinal = 0
  for (let i = 0; i < ids.length && ordinal < rowCount; i += 1) {
    const id = ids[i] ?? 0
    ordinal = gallop(rowIds, id, ordinal, rowCount)
    if (ordinal < rowCount && rowIds[ordinal] === id) visit(ordinal)
  }
}

/** First position at or after `from` whose value is at least `value`: fast when it is near. */
function gallop(values: Float64Array, value: number, from: number, to: number): number {
  let step = 1
  let low = from
  while (low + step < to && (values[low + step] ?? 0) < value) {
    low += step
    step *= 2
  }
  return lowerBound(values, value, low, Math.min(to, low + step + 1))
}

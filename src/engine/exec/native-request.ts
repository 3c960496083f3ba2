/** What every fragment needs before native code runs: the segments that can hold rows for it, and the encoded filter. */

import { selectRows } from '#engine/exec/row-selection.js'
import type { FilterRequest, SearchSegment } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'
import { encodeFilter } from '#engine/plan/filter-program.js'
import type { SegmentReport } from '#engine/plan/fragment.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

interface FragmentLike {
  readonly readAt: number
  readonly filter?: FilterNode | undefined
  readonly allowedRowIds?: Float64Array | undefined
  readonly excludedRowIds?: Float64Array | undefined
}

export interface PreparedFragment {
  /** In row id order; request.segments[i] is segments[i]. */
  readonly segments: readonly ReadableSegment[]
  readonly request: FilterRequest
  /** Segments that were left out because no row of theirs can be meant. */
  readonly skipped: readonly SegmentReport[]
}

/** @param attnums columns that native code reads beside those of the filter */
export function prepareFragment(
  segments: readonly ReadableSegment[],
  fragment: FragmentLike,
  attnums: readonly number[],
): PreparedFragment {
  const needed = [...new Set([...attnums, ...filterAttnums(fragment.filter)])]
  const kept: ReadableSegment[] = []
  const requests: SearchSegment[] = []
  const skipped: SegmentReport[] = []
  for (const segment of inRowIdOrder(segments)) {
    const allowed = selectRows(segment, fragment.allowedRowIds, fragment.excludedRowIds)
    if (allowed === 'none') {
      skipped.push(report(segment, 'empty', 0, 0))
      continue
    }
    segment.prepare(needed)
    kept.push(segment)
    requests.push({ segment: segment.native, rowCount: segment.rowCount, allowed })
  }
  const filter = fragment.filter === undefined ? undefined : encodeFilter(fragment.filter)
  return {
    segments: kept,
    request: { segments: requests, readAt: fragment.readAt, filter },
    skipped,
  }
}

/** So that ties in (segment, ordinal) order are ties in row id order, and scans come in row id order. */
export function inRowIdOrder(segments: readonly ReadableSegment[]): readonly ReadableSegment[] {
  return segments.toSorted((a, b) => (a.rowIds[0] ?? 0) - (b.rowIds[0] ?? 0))
}

export function report(
  { segmentId, stage, rowCount }: ReadableSegment,
  strategy: string,
  passing: number,
  visited: number,
): SegmentReport {
  return { segmentId, stage, rowCount, strategy, passing, visited }
}

/** Columns that the filter reads. */
export function filterAttnums(filter: FilterNode | undefined): readonly number[] {
  if (filter === undefined) return []
  switch (filter.op) {
    case 'and':
    case 'or':
      return filter.args.flatMap(filterAttnums)
    case 'not':
      return filterAttnums(filter.arg)
    case 'constant':
      return []
    case 'compareColumns':
      return [filter.attnum, filter.otherAttnum]
    case 'isNull':
    case 'boolean':
    case 'compare':
    case 'in':
    case 'like':
    case 'distance':
      return [filter.attnum]
  }
}

/** The parts of a request that all calls share: native/request.cc in words. */
import type { FilterRequest } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'
import { evaluateFilter } from '#engine/plan/filter-evaluate.js'
import { checkFilter } from './check-filter.testing.js'
import { decodeFilter } from './decode-filter.testing.js'
import { nativeError } from './native-error.testing.js'
import { PlainSegment } from './plain-segment.testing.js'

export interface PlainPart {
  readonly segment: PlainSegment
  readonly rowCount: number
  readonly allowed: Uint8Array | undefined
}

export interface PlainRequest {
  readonly parts: readonly PlainPart[]
  readonly readAt: number
  readonly filter: FilterNode | undefined
}

/** What is wrong before anything runs is thrown, not rejected, as the add-on does: hence two steps. */
export function checkRequest({ segments, filter }: FilterRequest): readonly PlainPart[] {
  if (filter?.length === 0) throw nativeError('XX000', 'malformed filter program')
  return segments.map(({ segment, rowCount, allowed }) => {
    if (!(segment instanceof PlainSegment)) throw new TypeError('not a native segment')
    segment.checkOpen()
    const { timestamps } = segment
    const known = Math.min(
      timestamps?.inserted.length ?? Number.POSITIVE_INFINITY,
      timestamps?.deleted.length ?? Number.POSITIVE_INFINITY,
    )
    if (known < rowCount) throw new RangeError('rowCount is beyond the timestamps')
    if (allowed !== undefined && allowed.length < Math.ceil(rowCount / 8)) {
      throw new RangeError('allowed is shorter than rowCount')
    }
    return { segment, rowCount, allowed }
  })
}

export function readRequest(parts: readonly PlainPart[], request: FilterRequest): PlainRequest {
  const filter = request.filter === undefined ? undefined : decodeFilter(request.filter)
  return { parts, readAt: request.readAt, filter }
}

/** Rows of a part that are visible, allowed and pass the filter, ascending. */
export function passingRows(
  { segment, rowCount, allowed }: PlainPart,
  { readAt, filter }: PlainRequest,
): readonly number[] {
  const { columns, timestamps } = segment
  if (filter !== undefined) checkFilter(filter, columns, rowCount)
  const rows: number[] = []
  for (let row = 0; row < rowCount; row++) {
    if (timestamps !== undefined) {
      const { inserted, deleted } = timestamps
      if (!((inserted[row] ?? 0) <= readAt && readAt < (deleted[row] ?? 0))) continue
    }
    if (allowed !== undefined && (((allowed[row >> 3] ?? 0) >> (row & 7)) & 1) === 0) continue
    if (filter !== undefined && evaluateFilter(filter, columns, row) !== true) continue
    rows.push(row)
  }
  return rows
}

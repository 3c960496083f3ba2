import type { Column } from '#engine/columnar/column.js'
import type { SortKey, TopRequest, TopResult } from '#engine/index/native.js'
import { compareValues, isValid, valueAt } from '#engine/plan/filter-evaluate.js'
import { checkComparable, findColumn } from './check-filter.testing.js'
import { type PlainPart, passingRows, readRequest } from './plain-request.testing.js'

interface Row {
  readonly segment: number
  readonly ordinal: number
  /** One per sort key. */
  readonly columns: readonly Column[]
}

/** First rows in order, ties in (segment, ordinal) order: a stable sort of what passes. */
export function topPlain(parts: readonly PlainPart[], request: TopRequest): TopResult {
  const { orderBy, limit } = request
  const read = readRequest(parts, request)
  const rows: Row[] = []
  parts.forEach((part, segment) => {
    if (limit < 1 || part.rowCount === 0) return
    const columns = orderBy.map(({ attnum, as }) => {
      const column = findColumn(part.segment.columns, attnum, part.rowCount)
      checkComparable(column, as)
      return column
    })
    if (orderBy.length === 0 && rows.length >= limit) return
    for (const ordinal of passingRows(part, read)) rows.push({ segment, ordinal, columns })
  })
  if (orderBy.length > 0) rows.sort((a, b) => compareRows(a, b, orderBy))
  const first = rows.slice(0, Math.floor(limit))
  return {
    count: first.length,
    segments: Uint32Array.from(first, ({ segment }) => segment),
    ordinals: Uint32Array.from(first, ({ ordinal }) => ordinal),
  }
}

function compareRows(a: Row, b: Row, orderBy: readonly SortKey[]): number {
  for (const [i, { descending, nullsFirst, as }] of orderBy.entries()) {
    const x = a.columns[i]
    const y = b.columns[i]
    if (x === undefined || y === undefined) continue
    const isNull = !isValid(x, a.ordinal)
    if (isNull !== !isValid(y, b.ordinal)) return isNull === nullsFirst ? -1 : 1
    if (isNull) continue
    const order = compareIn(x, a.ordinal, y, b.ordinal, as)
    if (order !== 0) return descending ? -order : order
  }
  return a.segment - b.segment || a.ordinal - b.ordinal
}

/** Two values that are not NULL (native/order.cc, CompareRows). */
export function compareIn(a: Column, i: number, b: Column, j: number, as: SortKey['as']): number {
  const floats = [a.kind, b.kind].some((kind) => kind === 'float32' || kind === 'float64')
  return compareValues(valueAt(a, i), valueAt(b, j), as, floats)
}

/**
 * Parts of a fragment from several places (segments, channels) become one.
 *
 * TOPK-1: the k nearest of several parts are the k nearest of one segment that holds all their rows; likewise partial
 * aggregates are what one pass over all rows would have given. Scans: merge-scan.ts.
 */
import { DatabaseError, InvariantError, invariant, SqlState } from '#base/errors.js'
import { sliceBatch } from '#engine/columnar/batch.js'
import { addDecimals } from '#engine/exec/decimal.js'
import { gatherParts, type PickedRow } from '#engine/exec/gather-parts.js'
import type { AggregateSpec, AggregateValue } from '#engine/index/native.js'
import type { FilterValue } from '#engine/plan/filter.js'
import { compareValues } from '#engine/plan/filter-evaluate.js'
import { compareBytes } from '#engine/plan/filter-order.js'
import type { SearchPart } from '#engine/plan/fragment.js'

/** @returns nearest first, ties in row id order; at most k. Parts without hits may have batches without columns. */
export function reduceSearch(parts: readonly SearchPart[], k: number): SearchPart {
  const segments = parts.flatMap((part) => part.segments)
  const filled = parts.filter(({ rowIds }) => rowIds.length > 0)
  const [first, second] = filled
  if (first === undefined) {
    const [any] = parts
    invariant('TOPK-1', any !== undefined, 'no part to reduce')
    return { ...any, segments }
  }
  if (second === undefined) return firstHits(first, k, segments)
  const hits: (PickedRow & { readonly distance: number; readonly rowId: number })[] = []
  for (const { distances, rowIds, batch } of filled) {
    for (let row = 0; row < rowIds.length; row += 1) {
      hits.push({ batch, row, distance: distances[row] ?? 0, rowId: rowIds[row] ?? 0 })
    }
  }
  hits.sort((a, b) => compareDistances(a.distance, b.distance) || a.rowId - b.rowId)
  const nearest = hits.slice(0, k)
  return {
    distances: Float64Array.from(nearest, ({ distance }) => distance),
    rowIds: Float64Array.from(nearest, ({ rowId }) => rowId),
    batch: gatherParts(nearest, first.batch),
    segments,
  }
}

function firstHits(part: SearchPart, k: number, segments: SearchPart['segments']): SearchPart {
  const count = Math.min(k, part.rowIds.length)
  return {
    distances: part.distances.subarray(0, count),
    rowIds: part.rowIds.subarray(0, count),
    batch: sliceBatch(part.batch, 0, count),
    segments,
  }
}

/** Infinity equals Infinity; there is no NaN among hits. */
function compareDistances(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * Float sums are added in the order of the parts (PostgreSQL promises no order either).
 * @param parts at least one; each has one value per spec
 * @throws 22003 when a float sum overflows
 */
export function reduceAggregates(
  parts: readonly (readonly AggregateValue[])[],
  specs: readonly AggregateSpec[],
): readonly AggregateValue[] {
  return specs.map((spec, position) => {
    let total: AggregateValue = { count: 0, value: null }
    for (const part of parts) {
      const value = part[position]
      invariant('TOPK-1', value !== undefined, 'part with too few aggregates')
      total = combine(spec, total, value)
    }
    return total
  })
}

function combine(spec: AggregateSpec, a: AggregateValue, b: AggregateValue): AggregateValue {
  const count = a.count + b.count
  if (a.value === null) return { count, value: b.value }
  if (b.value === null) return { count, value: a.value }
  switch (spec.kind) {
    case 'countStar':
    case 'count':
      return { count, value: null }
    case 'sum':
      return { count, value: addSums(a.value, b.value) }
    case 'min':
    case 'max': {
      const order = compareBounds(spec, bound(a.value), bound(b.value))
      const keepsFirst = spec.kind === 'min' ? order <= 0 : order >= 0
      return { count, value: keepsFirst ? a.value : b.value }
    }
  }
}

type SumValue = NonNullable<AggregateValue['value']>

function addSums(a: SumValue, b: SumValue): SumValue {
  if (typeof a === 'string' && typeof b === 'string') return addDecimals(a, b)
  if (typeof a !== 'number' || typeof b !== 'number') {
    throw new InvariantError('TOPK-1', 'sums of different kinds')
  }
  const sum = a + b
  if (!Number.isFinite(sum) && Number.isFinite(a) && Number.isFinite(b)) {
    throw new DatabaseError(SqlState.numericValueOutOfRange, 'value out of range: overflow')
  }
  return sum
}

function bound(value: SumValue): FilterValue {
  if (typeof value === 'string') throw new InvariantError('TOPK-1', 'text as a bound')
  return value
}

function compareBounds(spec: AggregateSpec, a: FilterValue, b: FilterValue): number {
  if (spec.as === 'native' && a instanceof Uint8Array && b instanceof Uint8Array) {
    return compareBytes(a, b)
  }
  return compareValues(a, b, spec.as, false)
}

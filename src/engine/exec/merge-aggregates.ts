/** Partial aggregates of several parts (segments, channels) become one: as if one pass had seen all rows. */
import { DatabaseError, InvariantError, invariant, SqlState } from '#base/errors.js'
import { addDecimals } from '#engine/exec/decimal.js'
import type { AggregateSpec, AggregateValue } from '#engine/index/native.js'
import type { FilterValue } from '#engine/plan/filter.js'
import { compareValues } from '#engine/plan/filter-evaluate.js'
import { compareBytes } from '#engine/plan/filter-order.js'

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

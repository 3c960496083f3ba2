/** Folds over visible, passing rows in (segment, ordinal) order: native/aggregate.cc in words. */
import type { Column } from '#engine/columnar/column.js'
import type { AggregateRequest, AggregateSpec, AggregateValue } from '#engine/index/native.js'
import { isValid, valueAt } from '#engine/plan/filter-evaluate.js'
import { checkComparable, findColumn } from './check-filter.testing.js'
import { nativeError } from './native-error.testing.js'
import { NumericSum } from './numeric-sum.testing.js'
import { type PlainPart, passingRows, readRequest } from './plain-request.testing.js'
import { compareIn } from './plain-top.testing.js'

interface Place {
  readonly column: Column
  readonly row: number
}

interface PassingPart {
  readonly part: PlainPart
  readonly rows: readonly number[]
}

export function aggregatePlain(
  parts: readonly PlainPart[],
  request: AggregateRequest,
): readonly AggregateValue[] {
  const read = readRequest(parts, request)
  const passing = parts
    .filter(({ rowCount }) => rowCount > 0)
    .map((part) => ({ part, rows: passingRows(part, read) }))
    .filter(({ rows }) => rows.length > 0)
  return request.aggregates.map((spec) => foldOne(spec, passing))
}

function foldOne(spec: AggregateSpec, passing: readonly PassingPart[]): AggregateValue {
  if (spec.kind === 'countStar') {
    return { count: passing.reduce((before, { rows }) => before + rows.length, 0), value: null }
  }
  const places = passing.flatMap(({ part, rows }) => placesOf(spec, part, rows))
  const count = places.length
  if (count === 0 || spec.kind === 'count') return { count, value: null }
  return { count, value: spec.kind === 'sum' ? sumOf(places, spec) : extreme(places, spec) }
}

/** Values that are not NULL. */
function placesOf(spec: AggregateSpec, part: PlainPart, rows: readonly number[]): readonly Place[] {
  const column = findColumn(part.segment.columns, spec.attnum, part.rowCount)
  if (spec.kind !== 'count') checkComparable(column, spec.as)
  if (spec.kind === 'sum' && (column.kind === 'bool' || spec.as === 'bytes')) {
    throw nativeError('XX000', 'column cannot be summed')
  }
  return rows.filter((row) => isValid(column, row)).map((row) => ({ column, row }))
}

/** Of equal values the first. */
function extreme(places: readonly Place[], { kind, as }: AggregateSpec): AggregateValue['value'] {
  const sign = kind === 'max' ? 1 : -1
  const best = places.reduce((kept, place) =>
    compareIn(place.column, place.row, kept.column, kept.row, as) * sign > 0 ? place : kept,
  )
  const value = valueAt(best.column, best.row)
  return value instanceof Uint8Array ? new Uint8Array(value) : value
}

function sumOf(places: readonly Place[], { as }: AggregateSpec): AggregateValue['value'] {
  const values = places.map(({ column, row }) => valueAt(column, row))
  if (as === 'numeric') {
    const numerics = new NumericSum()
    for (const value of values) if (value instanceof Uint8Array) numerics.add(value)
    return numerics.text()
  }
  const kind = places[0]?.column.kind
  if (kind !== 'float32' && kind !== 'float64') {
    return String(
      values.reduce<bigint>((before, value) => before + BigInt(value as number | bigint), 0n),
    )
  }
  // Float sums are rounded to the column's width at every step, as float4pl and float8pl do.
  const round = kind === 'float32' ? Math.fround : Number
  const numbers = values.map(Number)
  const total = numbers.reduce((before, value) => round(before + value))
  if (Math.abs(total) === Infinity && !numbers.some((value) => Math.abs(value) === Infinity)) {
    throw nativeError('22003', 'value out of range: overflow')
  }
  return total
}

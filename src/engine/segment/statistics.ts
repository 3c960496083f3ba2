/** Null count, smallest and largest value of a segment's column: lets a reader skip segments that no row can pass. */
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import { compareFloats } from '#engine/plan/filter-order.js'
import type { ColumnStatistics } from '#engine/segment/manifest.js'
import type { RowRuns } from '#engine/segment/row-runs.js'

/** Longer values are not kept as a bound: the manifest stays small. */
const boundSizeMax = 64

/** Rows looked at between two pauses: a few milliseconds. */
const sliceRows = 131_072

/**
 * Bounds are in the column's native order (floats as PostgreSQL orders them: NaN is largest, -0 = 0; fixed by memcmp).
 * Columns of kinds without one order for all types (bytes, vector) have no bounds.
 * @param pause awaited between slices
 */
export async function columnStatistics(
  schema: ColumnSchema,
  inputs: readonly Column[],
  runs: RowRuns,
  pause: () => Promise<void>,
): Promise<ColumnStatistics> {
  const { attnum, typeName } = schema
  let nullCount = 0
  let low: Place | undefined
  let high: Place | undefined
  let rowsSincePause = 0
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    const end = runs.to[run] ?? 0
    if (column === undefined) continue
    for (let from = runs.from[run] ?? 0; from < end; from += sliceRows) {
      const to = Math.min(end, from + sliceRows)
      const bounds = scanRows(column, from, to)
      nullCount += bounds.nullCount
      if (bounds.low >= 0) {
        const sliceLow = { column, row: bounds.low }
        const sliceHigh = { column, row: bounds.high }
        if (low === undefined || compare(sliceLow, low) < 0) low = sliceLow
        if (high === undefined || compare(sliceHigh, high) > 0) high = sliceHigh
      }
      rowsSincePause += to - from
      if (rowsSincePause < sliceRows) continue
      rowsSincePause = 0
      await pause()
    }
  }
  if (low === undefined || high === undefined) return { attnum, nullCount }
  const min = readDatum(low.column, low.row, typeName)
  const max = readDatum(high.column, high.row, typeName)
  if (min === null || max === null || min.byteLength > boundSizeMax) return { attnum, nullCount }
  return { attnum, nullCount, min: base64(min), max: base64(max) }
}

interface Place {
  readonly column: Column
  readonly row: number
}

interface Bounds {
  readonly nullCount: number
  /** Rows with the least and the greatest value; -1 when all are NULL or the kind has no order. */
  readonly low: number
  readonly high: number
}

function scanRows(column: Column, from: number, to: number): Bounds {
  if (column.kind === 'bytes' || column.kind === 'vector') {
    return { nullCount: countNulls(column, from, to), low: -1, high: -1 }
  }
  // The usual case apart: integers without NULL, in a loop without calls.
  if (column.kind === 'int64' && column.validity === undefined) {
    return { nullCount: 0, ...integerBounds(column.values, from, to) }
  }
  if ((column.kind === 'int32' || column.kind === 'int16') && column.validity === undefined) {
    return { nullCount: 0, ...integerBounds(column.values, from, to) }
  }
  let nullCount = 0
  let low = -1
  let high = -1
  for (let row = from; row < to; row += 1) {
    if (isNull(column, row)) nullCount += 1
    else if (low < 0) {
      low = row
      high = row
    } else if (compareRows(column, row, column, low) < 0) low = row
    else if (compareRows(column, row, column, high) > 0) high = row
  }
  return { nullCount, low, high }
}

function countNulls(column: Column, from: number, to: number): number {
  let nullCount = 0
  if (column.validity === undefined) return 0
  for (let row = from; row < to; row += 1) if (isNull(column, row)) nullCount += 1
  return nullCount
}

function integerBounds(
  values: BigInt64Array | Int32Array | Int16Array,
  from: number,
  to: number,
): { low: number; high: number } {
  let low = from
  let high = from
  let least = values[from] ?? 0
  let greatest = least
  for (let row = from + 1; row < to; row += 1) {
    const value = values[row] ?? 0
    if (value < least) {
      least = value
      low = row
    } else if (value > greatest) {
      greatest = value
      high = row
    }
  }
  return { low, high }
}

function compare(a: Place, b: Place): number {
  return compareRows(a.column, a.row, b.column, b.row)
}

function compareRows(a: Column, rowA: number, b: Column, rowB: number): number {
  switch (a.kind) {
    case 'bool':
    case 'int16':
    case 'int32': {
      const other = b.kind === a.kind ? (b.values[rowB] ?? 0) : 0
      return (a.values[rowA] ?? 0) - other
    }
    case 'int64': {
      const value = a.values[rowA] ?? 0n
      const other = b.kind === 'int64' ? (b.values[rowB] ?? 0n) : 0n
      return value < other ? -1 : value > other ? 1 : 0
    }
    case 'float32':
    case 'float64': {
      const other = b.kind === a.kind ? (b.values[rowB] ?? 0) : 0
      return compareFloats(a.values[rowA] ?? 0, other)
    }
    case 'fixed': {
      if (b.kind !== 'fixed') return 0
      return Buffer.compare(
        a.values.subarray(rowA * a.width, (rowA + 1) * a.width),
        b.values.subarray(rowB * b.width, (rowB + 1) * b.width),
      )
    }
    case 'bytes':
    case 'vector':
      return 0
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

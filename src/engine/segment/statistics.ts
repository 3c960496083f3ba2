/** Null count, smallest and largest value of a segment's column: lets a reader skip segments that no row can pass. */
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import type { ColumnStatistics } from '#engine/segment/manifest.js'
import type { RowRuns } from '#engine/segment/row-runs.js'

/** Longer values are not kept as a bound: the manifest stays small. */
const boundSizeMax = 64

/**
 * Bounds are in the column's native order (floats as PostgreSQL orders them: NaN is largest, -0 = 0; fixed by memcmp).
 * Columns of kinds without one order for all types (bytes, vector) have no bounds.
 */
export function columnStatistics(
  schema: ColumnSchema,
  inputs: readonly Column[],
  runs: RowRuns,
): ColumnStatistics {
  const { attnum, kind, typeName } = schema
  let nullCount = 0
  let low: Place | undefined
  let high: Place | undefined
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    if (column === undefined) continue
    const bounds = scanRun(column, runs.from[run] ?? 0, runs.to[run] ?? 0)
    nullCount += bounds.nullCount
    if (bounds.low < 0 || kind === 'bytes' || kind === 'vector') continue
    const runLow = { column, row: bounds.low }
    const runHigh = { column, row: bounds.high }
    if (low === undefined || compare(runLow, low) < 0) low = runLow
    if (high === undefined || compare(runHigh, high) > 0) high = runHigh
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

/** Rows with the least and the greatest value, -1 when all are NULL. */
function scanRun(
  column: Column,
  from: number,
  to: number,
): { nullCount: number; low: number; high: number } {
  let nullCount = 0
  let low = -1
  let high = -1
  const ordered = column.kind !== 'bytes' && column.kind !== 'vector'
  if (column.validity === undefined && !ordered) return { nullCount, low, high }
  for (let row = from; row < to; row += 1) {
    if (isNull(column, row)) {
      nullCount += 1
      continue
    }
    if (!ordered) continue
    if (low < 0) {
      low = row
      high = row
    } else if (compareRows(column, row, column, low) < 0) low = row
    else if (compareRows(column, row, column, high) > 0) high = row
  }
  return { nullCount, low, high }
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

/** PostgreSQL's order of floats. */
export function compareFloats(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  if (a === b) return 0
  return Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : -1
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/**
 * A column on its way into a segment file: its sizes are known before its bytes are produced, so that a file is laid out
 * first and then written from front to back. Values are views of the inputs (nothing is copied); only validity bits and
 * offsets are made anew.
 */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import type { Column, ColumnKind } from '#engine/columnar/column.js'
import {
  bytesColumnSizeMax,
  elementSize,
  isNull,
  widthOf,
} from '#engine/columnar/column-builder.js'
import type { RowRuns } from '#engine/segment/row-runs.js'

export interface ColumnSource {
  readonly kind: ColumnKind
  readonly width: number
  readonly rowCount: number
  readonly nullCount: number
  /** ceil(rowCount / 8) bytes, bits past the last row 0; absent = no NULL. */
  readonly validity?: Uint8Array | undefined
  /** Kind bytes: rowCount + 1 entries from 0. */
  readonly offsets?: Int32Array | undefined
  readonly valueBytes: number
  /** Pieces that together are valueBytes long; views that must be used before the inputs are closed. */
  values(): Iterable<Uint8Array>
}

/** @param inputs the column in each input, all of one kind and width; may be longer than the runs need */
export function columnSource(inputs: readonly Column[], runs: RowRuns): ColumnSource {
  const [first] = inputs
  invariant('SEG-3', first !== undefined, 'no input')
  const { kind } = first
  const width = widthOf(first)
  for (const column of inputs) {
    invariant('SEG-3', column.kind === kind && widthOf(column) === width, 'inputs of other kinds')
  }
  const { validity, nullCount } = mergeValidity(inputs, runs)
  const base = { kind, width, rowCount: runs.rowCount, nullCount, validity }
  if (kind === 'bytes') {
    const offsets = mergeOffsets(inputs, runs)
    const valueBytes = offsets[runs.rowCount] ?? 0
    return { ...base, offsets, valueBytes, values: () => bytesPieces(inputs, runs) }
  }
  const rowBytes = elementSize(kind) * (width || 1)
  const values = () => fixedPieces(inputs, runs, rowBytes)
  return { ...base, valueBytes: runs.rowCount * rowBytes, values }
}

/** One value per row from a Float64Array per input (_rowid, _inserted). */
export function float64Source(inputs: readonly Float64Array[], runs: RowRuns): ColumnSource {
  return columnSource(
    inputs.map((values) => ({ kind: 'float64', length: values.length, values })),
    runs,
  )
}

function mergeValidity(
  inputs: readonly Column[],
  runs: RowRuns,
): { validity: Uint8Array | undefined; nullCount: number } {
  if (inputs.every((input) => input.validity === undefined)) {
    return { validity: undefined, nullCount: 0 }
  }
  const validity = new Uint8Array((runs.rowCount + 7) >> 3)
  let at = 0
  let nullCount = 0
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    const to = runs.to[run] ?? 0
    if (column === undefined) continue
    for (let row = runs.from[run] ?? 0; row < to; row += 1) {
      if (isNull(column, row)) nullCount += 1
      else validity[at >> 3] = (validity[at >> 3] ?? 0) | (1 << (at & 7))
      at += 1
    }
  }
  return { validity: nullCount === 0 ? undefined : validity, nullCount }
}

function mergeOffsets(inputs: readonly Column[], runs: RowRuns): Int32Array {
  const merged = new Int32Array(runs.rowCount + 1)
  let at = 0
  let size = 0
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    if (column?.kind !== 'bytes') continue
    const { offsets } = column
    const to = runs.to[run] ?? 0
    const from = runs.from[run] ?? 0
    const shift = size - (offsets[from] ?? 0)
    size = (offsets[to] ?? 0) + shift
    if (size > bytesColumnSizeMax) {
      throw new DatabaseError(SqlState.programLimitExceeded, 'column of a segment exceeds 2 GB')
    }
    for (let row = from + 1; row <= to; row += 1) {
      at += 1
      merged[at] = (offsets[row] ?? 0) + shift
    }
  }
  return merged
}

function* bytesPieces(inputs: readonly Column[], runs: RowRuns): Iterable<Uint8Array> {
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    if (column?.kind !== 'bytes') continue
    const start = column.offsets[runs.from[run] ?? 0] ?? 0
    const end = column.offsets[runs.to[run] ?? 0] ?? 0
    if (end > start) yield column.values.subarray(start, end)
  }
}

function* fixedPieces(
  inputs: readonly Column[],
  runs: RowRuns,
  rowBytes: number,
): Iterable<Uint8Array> {
  for (let run = 0; run < runs.runCount; run += 1) {
    const column = inputs[runs.inputs[run] ?? 0]
    if (column === undefined) continue
    const { buffer, byteOffset } = column.values
    const from = runs.from[run] ?? 0
    const to = runs.to[run] ?? 0
    yield new Uint8Array(buffer, byteOffset + from * rowBytes, (to - from) * rowBytes)
  }
}

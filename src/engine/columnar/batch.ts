/** Cutting, picking and joining batches of rows. Columns may have buffers longer than their rows need. */
import { invariant } from '#base/errors.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import {
  allocateValues,
  bytesColumn,
  createColumnBuilder,
  elementSize,
  fixedColumn,
  isNull,
  widthOf,
} from '#engine/columnar/column-builder.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'

/** Rows from..to. Values are views; validity is copied when `from` is not at a byte's start. */
export function sliceBatch(batch: ColumnBatch, from: number, to = batch.rowCount): ColumnBatch {
  invariant(
    'COLUMN-2',
    from >= 0 && from <= to && to <= batch.rowCount,
    () => `rows ${from}..${to} of ${batch.rowCount}`,
  )
  if (from === 0 && to === batch.rowCount) return batch
  return {
    rowCount: to - from,
    columns: batch.columns.map((column) => sliceColumn(column, from, to)),
  }
}

export function sliceColumn(column: Column, from: number, to: number): Column {
  const validity = sliceValidity(column.validity, from, to)
  if (column.kind === 'bytes') {
    return bytesColumn(to - from, column.values, column.offsets.subarray(from, to + 1), validity)
  }
  const stride = widthOf(column) || 1
  const values = column.values.subarray(from * stride, to * stride)
  return fixedColumn(column.kind, widthOf(column), to - from, values, validity)
}

function sliceValidity(
  validity: Uint8Array | undefined,
  from: number,
  to: number,
): Uint8Array | undefined {
  if (validity === undefined) return undefined
  const size = (to - from + 7) >> 3
  const start = from >> 3
  const shift = from & 7
  if (shift === 0) return validity.subarray(start, start + size)
  const shifted = new Uint8Array(size)
  for (let i = 0; i < size; i += 1) {
    const low = (validity[start + i] ?? 0) >> shift
    shifted[i] = low | ((validity[start + i + 1] ?? 0) << (8 - shift))
  }
  return shifted
}

/** The rows with these ordinals, in their order, copied. */
export function takeRows(batch: ColumnBatch, rows: Uint32Array): ColumnBatch {
  return { rowCount: rows.length, columns: batch.columns.map((column) => takeColumn(column, rows)) }
}

export function takeColumn(column: Column, rows: Uint32Array): Column {
  const count = rows.length
  for (let i = 0; i < count; i += 1) {
    const row = rows[i] ?? 0
    invariant('COLUMN-2', row < column.length, () => `row ${row} of ${column.length}`)
  }
  const validity = takeValidity(column, rows)
  if (column.kind === 'bytes') return takeBytes(column, rows, validity)
  const width = widthOf(column)
  const stride = width || 1
  const values = allocateValues(column.kind, count * stride)
  if (stride === 1) {
    for (let i = 0; i < count; i += 1) values[i] = column.values[rows[i] ?? 0] as never
  } else {
    for (let i = 0; i < count; i += 1) {
      const start = (rows[i] ?? 0) * stride
      values.set(column.values.subarray(start, start + stride) as never, i * stride)
    }
  }
  return fixedColumn(column.kind, width, count, values, validity)
}

function takeValidity(column: Column, rows: Uint32Array): Uint8Array | undefined {
  if (column.validity === undefined) return undefined
  const taken = new Uint8Array((rows.length + 7) >> 3)
  let nulls = 0
  for (let i = 0; i < rows.length; i += 1) {
    if (isNull(column, rows[i] ?? 0)) nulls += 1
    else taken[i >> 3] = (taken[i >> 3] ?? 0) | (1 << (i & 7))
  }
  return nulls === 0 ? undefined : taken
}

function takeBytes(
  column: Extract<Column, { kind: 'bytes' }>,
  rows: Uint32Array,
  validity: Uint8Array | undefined,
): Column {
  const offsets = new Int32Array(rows.length + 1)
  let size = 0
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i] ?? 0
    size += (column.offsets[row + 1] ?? 0) - (column.offsets[row] ?? 0)
    offsets[i + 1] = size
  }
  const values = new Uint8Array(size)
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i] ?? 0
    const start = column.offsets[row] ?? 0
    const end = column.offsets[row + 1] ?? 0
    const target = offsets[i] ?? 0
    // Short values by hand: a typed array's subarray + set costs some 50 ns.
    if (end - start < 32) {
      for (let j = start; j < end; j += 1) values[target + j - start] = column.values[j] ?? 0
    } else values.set(column.values.subarray(start, end), target)
  }
  return bytesColumn(rows.length, values, offsets, validity)
}

/** Batches of the same columns one after the other, copied (a single one is handed back as it is). */
export function concatBatches(batches: readonly ColumnBatch[]): ColumnBatch {
  const [first] = batches
  invariant('COLUMN-3', first !== undefined, 'no batch to join')
  if (batches.length === 1) return first
  const rowCount = batches.reduce((sum, batch) => sum + batch.rowCount, 0)
  const columns = first.columns.map((column, position) => {
    const parts = batches.map((batch) => {
      const part = batch.columns[position]
      invariant('COLUMN-3', part !== undefined, 'batches with different columns')
      return part
    })
    return concatColumns(column, parts, rowCount)
  })
  return { rowCount, columns }
}

function concatColumns(like: Column, parts: readonly Column[], rowCount: number): Column {
  const builder = createColumnBuilder(like.kind, widthOf(like), rowCount)
  builder.reserve(
    rowCount,
    parts.reduce((sum, part) => sum + (part.kind === 'bytes' ? usedBytes(part) : 0), 0),
  )
  for (const part of parts) builder.appendColumn(part)
  return builder.finish()
}

/** A batch without rows for these columns. */
export function emptyBatch(columns: readonly Pick<ColumnSchema, 'kind' | 'width'>[]): ColumnBatch {
  return {
    rowCount: 0,
    columns: columns.map(({ kind, width }) => createColumnBuilder(kind, width, 0).finish()),
  }
}

/** Bytes that the rows need (not what their buffers hold). */
export function batchByteLength(batch: ColumnBatch): number {
  return batch.columns.reduce((sum, column) => sum + columnByteLength(column), 0)
}

export function columnByteLength(column: Column): number {
  const validity = column.validity === undefined ? 0 : (column.length + 7) >> 3
  if (column.kind === 'bytes') return validity + 4 * (column.length + 1) + usedBytes(column)
  return validity + column.length * (widthOf(column) || 1) * elementSize(column.kind)
}

function usedBytes(column: Extract<Column, { kind: 'bytes' }>): number {
  return (column.offsets[column.length] ?? 0) - (column.offsets[0] ?? 0)
}

/**
 * Batches as bytes, for log records and between nodes. Drawn in docs/formats/batch.md. All little-endian.
 *
 *   0   u32  magic 'ELB1'          12  u32  total bytes
 *   4   u16  version = 1           16  column descriptors, 12 bytes each:
 *   6   u16  columns                     0 u8 kind, 1 u8 flags (1 = validity), 2 u16 0,
 *   8   u32  rows                        4 u32 width, 8 u32 bytes of values
 *
 * then, each padded with zeros to 8 bytes and in the order of the columns:
 * [validity, ceil(rows / 8)] [bytes: offsets, 4 × (rows + 1), the first 0] [values].
 * Decoding makes views when the input lies at a multiple of 8, else copies it once; it has no checksum of its own.
 */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import type { Column, ColumnBatch, ColumnKind } from '#engine/columnar/column.js'
import { bytesColumn, elementSize, fixedColumn, widthOf } from '#engine/columnar/column-builder.js'

const magic = 0x31424c45 // 'ELB1'
const version = 1
const headerSize = 16
const descriptorSize = 12
const hasValidity = 1

/** Position is the number on the wire: append only. */
const kinds: readonly ColumnKind[] = [
  'bool',
  'int16',
  'int32',
  'int64',
  'float32',
  'float64',
  'fixed',
  'vector',
  'bytes',
]

interface Layout {
  readonly column: Column
  readonly validityBytes: number
  readonly offsetBytes: number
  readonly valueBytes: number
}

export function encodeBatch(batch: ColumnBatch): Uint8Array {
  const { rowCount, columns } = batch
  const layouts = columns.map((column) => layoutOf(column, rowCount))
  let total = padded(headerSize + descriptorSize * columns.length)
  for (const { validityBytes, offsetBytes, valueBytes } of layouts) {
    total += padded(validityBytes) + padded(offsetBytes) + padded(valueBytes)
  }
  invariant('BATCH-1', columns.length <= 0xffff && total <= 0xffff_ffff, 'batch too large')
  const bytes = new Uint8Array(total)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic, true)
  view.setUint16(4, version, true)
  view.setUint16(6, columns.length, true)
  view.setUint32(8, rowCount, true)
  view.setUint32(12, total, true)
  let at = padded(headerSize + descriptorSize * columns.length)
  layouts.forEach((layout, position) => {
    const descriptor = headerSize + descriptorSize * position
    bytes[descriptor] = kinds.indexOf(layout.column.kind)
    bytes[descriptor + 1] = layout.validityBytes > 0 ? hasValidity : 0
    view.setUint32(descriptor + 4, widthOf(layout.column), true)
    view.setUint32(descriptor + 8, layout.valueBytes, true)
    at = writeColumn(bytes, at, layout)
  })
  return bytes
}

function layoutOf(column: Column, rowCount: number): Layout {
  invariant('BATCH-1', column.length === rowCount, 'columns of different length')
  const validityBytes = column.validity === undefined ? 0 : (rowCount + 7) >> 3
  if (column.kind === 'bytes') {
    const valueBytes = (column.offsets[rowCount] ?? 0) - (column.offsets[0] ?? 0)
    return { column, validityBytes, offsetBytes: 4 * (rowCount + 1), valueBytes }
  }
  const valueBytes = rowCount * (widthOf(column) || 1) * elementSize(column.kind)
  return { column, validityBytes, offsetBytes: 0, valueBytes }
}

function writeColumn(bytes: Uint8Array, start: number, layout: Layout): number {
  const { column, validityBytes, offsetBytes, valueBytes } = layout
  let at = start
  if (column.validity !== undefined && validityBytes > 0) {
    bytes.set(column.validity.subarray(0, validityBytes), at)
    // Bits past the last row are whatever the builder left: zero them, equal batches are equal bytes.
    const rest = column.length & 7
    const last = at + validityBytes - 1
    if (rest !== 0) bytes[last] = (bytes[last] ?? 0) & ((1 << rest) - 1)
  }
  at += padded(validityBytes)
  if (column.kind === 'bytes') {
    const first = column.offsets[0] ?? 0
    const offsets = new Int32Array(bytes.buffer, at, column.length + 1)
    for (let i = 0; i <= column.length; i += 1) offsets[i] = (column.offsets[i] ?? 0) - first
    at += padded(offsetBytes)
    bytes.set(column.values.subarray(first, first + valueBytes), at)
  } else {
    const { buffer, byteOffset } = column.values
    bytes.set(new Uint8Array(buffer, byteOffset, valueBytes), at)
  }
  return at + padded(valueBytes)
}

/** The views live as long as `bytes`, which must not be changed. @throws XX001 when the bytes are not a batch. */
export function decodeBatch(bytes: Uint8Array): ColumnBatch {
  if (bytes.byteLength < headerSize) throw corrupted('shorter than its header')
  if (bytes.byteOffset % 8 !== 0) return decodeAligned(new Uint8Array(bytes))
  return decodeAligned(bytes)
}

function decodeAligned(bytes: Uint8Array): ColumnBatch {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== magic) throw corrupted('no magic number')
  if (view.getUint16(4, true) !== version) throw corrupted('unknown version')
  if (view.getUint32(12, true) !== bytes.byteLength) throw corrupted('other size than recorded')
  const columnCount = view.getUint16(6, true)
  const rowCount = view.getUint32(8, true)
  let at = padded(headerSize + descriptorSize * columnCount)
  if (at > bytes.byteLength) throw corrupted('column descriptors out of bounds')
  const columns: Column[] = []
  for (let position = 0; position < columnCount; position += 1) {
    const descriptor = readDescriptor(view, headerSize + descriptorSize * position, rowCount)
    const { validityBytes, offsetBytes, valueBytes } = descriptor
    const end = at + padded(validityBytes) + padded(offsetBytes) + padded(valueBytes)
    if (end > bytes.byteLength) throw corrupted('column out of bounds')
    columns.push(readColumn(bytes, at, rowCount, descriptor))
    at = end
  }
  if (at !== bytes.byteLength) throw corrupted('bytes left over')
  return { rowCount, columns }
}

interface Descriptor {
  readonly kind: ColumnKind
  readonly width: number
  readonly validityBytes: number
  readonly offsetBytes: number
  readonly valueBytes: number
}

function readDescriptor(view: DataView, at: number, rowCount: number): Descriptor {
  const kind = kinds[view.getUint8(at)]
  const flags = view.getUint8(at + 1)
  const width = view.getUint32(at + 4, true)
  const valueBytes = view.getUint32(at + 8, true)
  if (kind === undefined) throw corrupted('unknown column kind')
  if ((flags & ~hasValidity) !== 0 || view.getUint16(at + 2, true) !== 0) {
    throw corrupted('unknown column flags')
  }
  const wide = kind === 'fixed' || kind === 'vector'
  if (wide ? width === 0 : width !== 0) throw corrupted('impossible column width')
  if (kind !== 'bytes' && valueBytes !== rowCount * (width || 1) * elementSize(kind)) {
    throw corrupted('column size does not fit its rows')
  }
  return {
    kind,
    width,
    validityBytes: (flags & hasValidity) !== 0 ? Math.ceil(rowCount / 8) : 0,
    offsetBytes: kind === 'bytes' ? 4 * (rowCount + 1) : 0,
    valueBytes,
  }
}

function readColumn(
  bytes: Uint8Array,
  start: number,
  rowCount: number,
  { kind, width, validityBytes, offsetBytes, valueBytes }: Descriptor,
): Column {
  const validity = validityBytes === 0 ? undefined : bytes.subarray(start, start + validityBytes)
  const offsetsAt = start + padded(validityBytes)
  const valuesAt = bytes.byteOffset + offsetsAt + padded(offsetBytes)
  const count = rowCount * (width || 1)
  const buffer = bytes.buffer
  switch (kind) {
    case 'bytes': {
      const offsets = new Int32Array(buffer, bytes.byteOffset + offsetsAt, rowCount + 1)
      checkOffsets(offsets, valueBytes)
      const values = new Uint8Array(buffer, valuesAt, valueBytes)
      return bytesColumn(rowCount, values, offsets, validity)
    }
    case 'bool':
    case 'fixed':
      return fixedColumn(kind, width, rowCount, new Uint8Array(buffer, valuesAt, count), validity)
    case 'int16':
      return fixedColumn(kind, width, rowCount, new Int16Array(buffer, valuesAt, count), validity)
    case 'int32':
      return fixedColumn(kind, width, rowCount, new Int32Array(buffer, valuesAt, count), validity)
    case 'int64':
      return fixedColumn(kind, 0, rowCount, new BigInt64Array(buffer, valuesAt, count), validity)
    case 'float32':
    case 'vector':
      return fixedColumn(kind, width, rowCount, new Float32Array(buffer, valuesAt, count), validity)
    case 'float64':
      return fixedColumn(kind, 0, rowCount, new Float64Array(buffer, valuesAt, count), validity)
  }
}

function checkOffsets(offsets: Int32Array, valueBytes: number): void {
  let last = offsets[0] ?? 0
  if (last !== 0) throw corrupted('first offset is not 0')
  for (let i = 1; i < offsets.length; i += 1) {
    const offset = offsets[i] ?? 0
    if (offset < last) throw corrupted('offsets do not rise')
    last = offset
  }
  if (last !== valueBytes) throw corrupted('last offset is not the size of the values')
}

function padded(size: number): number {
  return Math.ceil(size / 8) * 8
}

function corrupted(what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `batch is corrupted: ${what}`)
}

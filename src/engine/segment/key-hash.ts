/** Hashes and equality of key values straight from columns: see key-index.ts for what "equal" means. In memory only. */
import { InvariantError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { canonicalNumeric, withoutTrailingSpaces } from '#engine/columnar/key.js'

const nullHash = 0x5bd1e995
const scratch = new Float64Array(1)
const scratchWords = new Int32Array(scratch.buffer)

/** Hashes of rows from..to-1 into out[0..]. */
export function hashKeyRows(
  columns: readonly Column[],
  typeNames: readonly string[],
  from: number,
  to: number,
  out: Uint32Array,
): void {
  out.fill(0)
  columns.forEach((column, position) => {
    const typeName = typeNames[position] ?? ''
    // The usual key apart: whole words without a BigInt per row.
    if (column.kind === 'int64') {
      const { buffer, byteOffset, length } = column.values
      const words = new Int32Array(buffer, byteOffset, length * 2)
      for (let row = from; row < to; row += 1) {
        const hash = isNull(column, row)
          ? nullHash
          : hashWords(words[2 * row] ?? 0, words[2 * row + 1] ?? 0)
        out[row - from] = combine(out[row - from] ?? 0, hash)
      }
      return
    }
    for (let row = from; row < to; row += 1) {
      out[row - from] = combine(out[row - from] ?? 0, hashValue(column, typeName, row))
    }
  })
}

/** The same hash of one row. */
export function hashKeyRow(
  columns: readonly Column[],
  typeNames: readonly string[],
  row: number,
): number {
  let hash = 0
  for (let i = 0; i < columns.length; i += 1) {
    hash = combine(hash, hashValue(columnAt(columns, i), typeNames[i] ?? '', row))
  }
  return hash
}

/** NULL equals NULL here: whether such rows take part is the index's business. */
export function keyRowsEqual(
  columns: readonly Column[],
  row: number,
  others: readonly Column[],
  otherRow: number,
  typeNames: readonly string[],
): boolean {
  for (let i = 0; i < columns.length; i += 1) {
    const column = columnAt(columns, i)
    const other = columnAt(others, i)
    if (!valuesEqual(column, row, other, otherRow, typeNames[i] ?? '')) return false
  }
  return true
}

function valuesEqual(
  column: Column,
  row: number,
  other: Column,
  otherRow: number,
  typeName: string,
): boolean {
  if (column.kind !== other.kind) throw new InvariantError('KEY-2', 'key columns of other kinds')
  const absent = isNull(column, row)
  if (absent !== isNull(other, otherRow)) return false
  if (absent) return true
  switch (column.kind) {
    case 'bool':
    case 'int16':
    case 'int32':
    case 'int64':
      return column.values[row] === other.values[otherRow]
    case 'float32':
    case 'float64': {
      const a = column.values[row] ?? 0
      const b = other.values[otherRow] ?? 0
      return a === b || (Number.isNaN(a) && Number.isNaN(b as number))
    }
    case 'vector': {
      const dimensions = column.dimensions
      const otherValues = other.values
      for (let i = 0; i < dimensions; i += 1) {
        const a = column.values[row * dimensions + i]
        if (a !== otherValues[otherRow * dimensions + i]) return false
      }
      return true
    }
    case 'fixed':
    case 'bytes':
      return bytesEqual(keyBytes(column, row, typeName), keyBytes(other, otherRow, typeName))
  }
}

function hashValue(column: Column, typeName: string, row: number): number {
  if (isNull(column, row)) return nullHash
  switch (column.kind) {
    case 'bool':
    case 'int16':
    case 'int32':
      return hashWords(column.values[row] ?? 0, 0)
    case 'int64': {
      const { buffer, byteOffset } = column.values
      const words = new Int32Array(buffer, byteOffset + 8 * row, 2)
      return hashWords(words[0] ?? 0, words[1] ?? 0)
    }
    case 'float32':
    case 'float64':
      return hashFloat(column.values[row] ?? 0)
    case 'vector': {
      let hash = 0
      const start = row * column.dimensions
      for (let i = 0; i < column.dimensions; i += 1) {
        hash = combine(hash, hashFloat(column.values[start + i] ?? 0))
      }
      return hash
    }
    case 'fixed':
    case 'bytes':
      return hashBytes(keyBytes(column, row, typeName))
  }
}

function keyBytes(column: Column, row: number, typeName: string): Uint8Array {
  if (column.kind === 'fixed') {
    return column.values.subarray(row * column.width, (row + 1) * column.width)
  }
  if (column.kind !== 'bytes') throw new InvariantError('KEY-2', `no bytes in ${column.kind}`)
  const bytes = column.values.subarray(column.offsets[row] ?? 0, column.offsets[row + 1] ?? 0)
  if (typeName === 'numeric') return canonicalNumeric(bytes)
  if (typeName === 'bpchar') return withoutTrailingSpaces(bytes)
  return bytes
}

function columnAt(columns: readonly Column[], position: number): Column {
  const column = columns[position]
  if (column === undefined) throw new InvariantError('KEY-2', 'key column missing')
  return column
}

function hashFloat(value: number): number {
  // -0 = 0 and NaN = NaN: one bit pattern each.
  scratch[0] = value === 0 ? 0 : Number.isNaN(value) ? Number.NaN : value
  return hashWords(scratchWords[0] ?? 0, scratchWords[1] ?? 0)
}

function hashBytes(bytes: Uint8Array): number {
  let hash = bytes.length
  for (let i = 0; i < bytes.length; i += 1) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193)
  return hashWords(hash, bytes.length)
}

/** murmur3's finisher over two words: consecutive integers land far apart. */
function hashWords(low: number, high: number): number {
  let mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 13)) >>> 0
}

function combine(hash: number, next: number): number {
  return (Math.imul(hash, 31) + next) >>> 0
}

function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false
  return true
}

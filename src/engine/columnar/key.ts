/**
 * Keys of rows as strings: two keys are the same string exactly when PostgreSQL's default equality says they are equal
 * (for `bytes` columns: numeric 1.0 = 1.00, char(n) ignores trailing spaces; other types by their bytes). Used for
 * PRIMARY KEY and UNIQUE maps, delete records and sharding; the order of the strings means nothing.
 *
 * Form, per column: 'n' NULL; 'i<decimal>;' integers of any width, dates, timestamps; 'b0' 'b1'; 'f<16 hex>' floats;
 * 's<length>:<bytes as latin1>' everything else. Each part tells its own end, so joining them is injective.
 */
import { InvariantError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'

const scratch = new DataView(new ArrayBuffer(8))

/**
 * @param typeNames pg_type names of the columns: needed where equal values may differ in their bytes (numeric, bpchar).
 */
export function encodeKey(
  columns: readonly Column[],
  row: number,
  typeNames?: readonly string[],
): string {
  let key = ''
  for (let i = 0; i < columns.length; i += 1) {
    const column = columns[i]
    if (column === undefined) throw new InvariantError('KEY-1', 'key column missing')
    key += isNull(column, row) ? 'n' : encodePart(column, row, typeNames?.[i] ?? '')
  }
  return key
}

/** True if any column of the key is NULL in this row (such keys never conflict, unless NULLS NOT DISTINCT). */
export function keyHasNull(columns: readonly Column[], row: number): boolean {
  return columns.some((column) => isNull(column, row))
}

function encodePart(column: Column, row: number, typeName: string): string {
  switch (column.kind) {
    case 'int16':
    case 'int32':
    case 'int64':
      return `i${column.values[row] ?? 0};`
    case 'bool':
      return column.values[row] === 0 ? 'b0' : 'b1'
    case 'float32':
    case 'float64':
      return encodeFloat(column.values[row] ?? 0)
    case 'fixed':
      return encodeBytes(column.values.subarray(row * column.width, (row + 1) * column.width))
    case 'vector':
      return encodeVector(
        column.values.subarray(row * column.dimensions, (row + 1) * column.dimensions),
      )
    case 'bytes': {
      const bytes = column.values.subarray(column.offsets[row] ?? 0, column.offsets[row + 1] ?? 0)
      if (typeName === 'numeric') return encodeBytes(canonicalNumeric(bytes))
      if (typeName === 'bpchar') return encodeBytes(withoutTrailingSpaces(bytes))
      return encodeBytes(bytes)
    }
  }
}

function encodeFloat(value: number): string {
  // -0 = 0 and NaN = NaN: one bit pattern each.
  scratch.setFloat64(0, value === 0 ? 0 : Number.isNaN(value) ? Number.NaN : value)
  const high = scratch.getUint32(0).toString(16).padStart(8, '0')
  return `f${high}${scratch.getUint32(4).toString(16).padStart(8, '0')}`
}

function encodeBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return `s${bytes.byteLength}:${buffer.toString('latin1')}`
}

function encodeVector(values: Float32Array): string {
  const copy = new Float32Array(values.length)
  for (let i = 0; i < values.length; i += 1) copy[i] = (values[i] ?? 0) + 0
  return encodeBytes(new Uint8Array(copy.buffer))
}

/**
 * numeric in send format (numeric.c): int16 ndigits, weight, sign, dscale, then base-10000 digits. Equal values differ
 * in dscale and in leading and trailing zero digits.
 */
export function canonicalNumeric(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength < 8) return bytes
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const special = view.getUint16(4) >= 0xc000
  let first = 0
  let last = Math.min(view.getUint16(0), (bytes.byteLength - 8) >> 1)
  while (first < last && view.getUint16(8 + 2 * first) === 0) first += 1
  while (last > first && view.getUint16(8 + 2 * (last - 1)) === 0) last -= 1
  const canonical = new Uint8Array(8 + 2 * (last - first))
  const target = new DataView(canonical.buffer)
  target.setUint16(0, last - first)
  if (special) target.setUint16(4, view.getUint16(4))
  else if (last > first) {
    target.setInt16(2, view.getInt16(2) - first)
    target.setUint16(4, view.getUint16(4))
  }
  canonical.set(bytes.subarray(8 + 2 * first, 8 + 2 * last), 8)
  return canonical
}

export function withoutTrailingSpaces(bytes: Uint8Array): Uint8Array {
  let end = bytes.byteLength
  while (end > 0 && bytes[end - 1] === 0x20) end -= 1
  return bytes.subarray(0, end)
}

/** 32-bit FNV-1a with murmur3's finisher over the key's characters. Part of the data's layout: never change it. */
export function hashKey(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i += 1) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return finish(hash)
}

/** Two independent 32-bit hashes as one exact number below 2^53: for filters of keys. */
export function hashKey53(key: string): number {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < key.length; i += 1) {
    const code = key.charCodeAt(i)
    a = Math.imul(a ^ code, 0x9e3779b1)
    b = Math.imul(b ^ code, 0x5f356495)
  }
  return (finish(a) & 0x1fffff) * 4294967296 + finish(b)
}

/** Which shard of 0..shardCount-1 owns the key. */
export function shardOf(key: string, shardCount: number): number {
  return Math.floor((hashKey(key) * shardCount) / 4294967296)
}

function finish(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

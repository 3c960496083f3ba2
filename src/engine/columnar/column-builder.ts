/**
 * Growable columns. Buffers double; `view()` shows them without copying, so a growing segment hands the same memory to
 * native code for as long as `generation` stays the same.
 *
 * Invariants: rows below `length` are never written again, except that bits of later rows are set in a shared last
 * validity byte. Old buffers stay intact after a reallocation: whoever still reads them sees the rows they had.
 */
import { DatabaseError, InvariantError, invariant, SqlState } from '#base/errors.js'
import type { Column, ColumnKind, Datum } from '#engine/columnar/column.js'
import { Validity } from '#engine/columnar/validity.js'

/** Bytes a `bytes` column may hold: offsets are int32. */
export const bytesColumnSizeMax = 0x7fff_ffff
/** pgvector's VECTOR_MAX_DIM. */
const dimensionsMax = 16_000

export interface ColumnBuilder {
  readonly kind: ColumnKind
  readonly width: number
  /** Rows appended. */
  readonly length: number
  /** Raised whenever a buffer was replaced or validity appeared: views taken before do not see later rows. */
  readonly generation: number
  readonly nullCount: number
  /** Bytes held by the buffers, used or not. */
  readonly allocatedBytes: number
  /** @throws 22P03 when the bytes are not a value of this kind; 22000 vector of another dimension. */
  appendDatum(datum: Datum): void
  appendNull(): void
  /** Rows from..to of a column of the same kind and width. */
  appendColumn(column: Column, from?: number, to?: number): void
  /** Makes room for that many more rows (and value bytes, for kind bytes). */
  reserve(rowCount: number, valueBytes?: number): void
  /** The rows so far, not copied: buffers are longer than length. Validity is absent while there is no NULL. */
  view(): Column
  /** The rows as an exact column of its own; the builder must not be used afterwards. */
  finish(): Column
}

/** @param width vector: dimensions; fixed: bytes; otherwise 0. */
export function createColumnBuilder(kind: ColumnKind, width = 0, capacity = 16): ColumnBuilder {
  return kind === 'bytes'
    ? new BytesBuilder(capacity)
    : new FixedWidthBuilder(kind, width, capacity)
}

type FixedKind = Exclude<ColumnKind, 'bytes'>
type FixedValues =
  | Uint8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array

/** Bytes of one element of a kind's array, and elements per row. */
export function elementSize(kind: FixedKind): number {
  switch (kind) {
    case 'bool':
    case 'fixed':
      return 1
    case 'int16':
      return 2
    case 'int32':
    case 'float32':
    case 'vector':
      return 4
    case 'int64':
    case 'float64':
      return 8
  }
}

export function allocateValues(kind: FixedKind, count: number): FixedValues {
  switch (kind) {
    case 'bool':
    case 'fixed':
      return new Uint8Array(count)
    case 'int16':
      return new Int16Array(count)
    case 'int32':
      return new Int32Array(count)
    case 'int64':
      return new BigInt64Array(count)
    case 'float32':
    case 'vector':
      return new Float32Array(count)
    case 'float64':
      return new Float64Array(count)
  }
}

/** A column over buffers that fit the kind; the one place where the pair is taken on trust. */
export function fixedColumn(
  kind: FixedKind,
  width: number,
  length: number,
  values: FixedValues,
  validity: Uint8Array | undefined,
): Column {
  const base =
    validity === undefined ? { kind, length, values } : { kind, length, values, validity }
  if (kind === 'vector') return { ...base, dimensions: width } as Column
  if (kind === 'fixed') return { ...base, width } as Column
  return base as Column
}

export function bytesColumn(
  length: number,
  values: Uint8Array,
  offsets: Int32Array,
  validity: Uint8Array | undefined,
): Column {
  return validity === undefined
    ? { kind: 'bytes', length, values, offsets }
    : { kind: 'bytes', length, values, offsets, validity }
}

/** vector: dimensions; fixed: bytes; otherwise 0. */
export function widthOf(column: Column): number {
  return column.kind === 'vector' ? column.dimensions : column.kind === 'fixed' ? column.width : 0
}

export function isNull(column: Column, row: number): boolean {
  const { validity } = column
  return validity !== undefined && (((validity[row >> 3] ?? 0) >> (row & 7)) & 1) === 0
}

class FixedWidthBuilder implements ColumnBuilder {
  readonly kind: FixedKind
  readonly width: number
  readonly #stride: number
  #values: FixedValues
  #view: DataView
  #capacity: number
  #length = 0
  #generation = 0
  readonly #validity = new Validity()

  constructor(kind: FixedKind, width: number, capacity: number) {
    const wide = kind === 'vector' || kind === 'fixed'
    invariant('COLUMN-1', wide ? width > 0 : width === 0, () => `width ${width} of ${kind}`)
    invariant('COLUMN-1', width <= dimensionsMax, () => `width ${width} of ${kind}`)
    this.kind = kind
    this.width = width
    this.#stride = wide ? width : 1
    this.#capacity = Math.max(8, capacity)
    this.#values = allocateValues(kind, this.#capacity * this.#stride)
    this.#view = viewOf(this.#values)
  }

  get length(): number {
    return this.#length
  }
  get generation(): number {
    return this.#generation
  }
  get nullCount(): number {
    return this.#validity.nullCount
  }
  get allocatedBytes(): number {
    return this.#values.byteLength + (this.#validity.bits?.byteLength ?? 0)
  }

  reserve(rowCount: number): void {
    const wanted = this.#length + rowCount
    if (wanted <= this.#capacity) return
    this.#capacity = Math.max(wanted, this.#capacity * 2)
    const grown = allocateValues(this.kind, this.#capacity * this.#stride)
    grown.set(this.#values as never)
    this.#values = grown
    this.#view = viewOf(grown)
    this.#validity.grow(this.#capacity)
    this.#generation += 1
  }

  appendNull(): void {
    this.reserve(1)
    if (this.#validity.appendNull(this.#length, this.#capacity)) this.#generation += 1
    this.#length += 1
  }

  appendDatum(datum: Datum): void {
    if (datum === null) {
      this.appendNull()
      return
    }
    this.reserve(1)
    this.#write(datum)
    this.#validity.appendValid(this.#length)
    this.#length += 1
  }

  #write(datum: Uint8Array): void {
    const row = this.#length
    const view = this.#view
    const source = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
    switch (this.kind) {
      case 'bool':
        checkSize(datum, 1)
        view.setUint8(row, source.getUint8(0) === 0 ? 0 : 1)
        return
      case 'int16':
        checkSize(datum, 2)
        view.setInt16(row * 2, source.getInt16(0), true)
        return
      case 'int32':
      case 'float32':
        checkSize(datum, 4)
        view.setInt32(row * 4, source.getInt32(0), true)
        return
      case 'int64':
      case 'float64':
        // oid is int64 here and four bytes on the wire.
        if (datum.byteLength === 4 && this.kind === 'int64') {
          view.setBigInt64(row * 8, BigInt(source.getUint32(0)), true)
          return
        }
        checkSize(datum, 8)
        view.setInt32(row * 8, source.getInt32(4), true)
        view.setInt32(row * 8 + 4, source.getInt32(0), true)
        return
      case 'fixed':
        checkSize(datum, this.width)
        new Uint8Array(view.buffer, view.byteOffset).set(datum, row * this.width)
        return
      case 'vector': {
        if (datum.byteLength < 4) throw incorrectBinary()
        const dimensions = source.getUint16(0)
        if (dimensions !== this.width) {
          throw new DatabaseError(
            SqlState.dataException,
            `expected ${this.width} dimensions, not ${dimensions}`,
          )
        }
        checkSize(datum, 4 + 4 * this.width)
        const start = row * this.width * 4
        for (let i = 0; i < this.width * 4; i += 4) {
          view.setInt32(start + i, source.getInt32(4 + i), true)
        }
        return
      }
    }
  }

  appendColumn(column: Column, from = 0, to = column.length): void {
    if (column.kind === 'bytes' || column.kind !== this.kind || widthOf(column) !== this.width) {
      throw new InvariantError(
        'COLUMN-1',
        `${column.kind}(${widthOf(column)}) appended to ${this.kind}(${this.width})`,
      )
    }
    invariant('COLUMN-2', from >= 0 && from <= to && to <= column.length, 'rows out of range')
    this.reserve(to - from)
    const rows = column.values.subarray(from * this.#stride, to * this.#stride)
    this.#values.set(rows as never, this.#length * this.#stride)
    if (this.#validity.appendFrom(column, from, to, this.#length, this.#capacity)) {
      this.#generation += 1
    }
    this.#length += to - from
  }

  view(): Column {
    return fixedColumn(this.kind, this.width, this.#length, this.#values, this.#validity.bits)
  }

  finish(): Column {
    const count = this.#length * this.#stride
    const values = count === this.#values.length ? this.#values : this.#values.slice(0, count)
    return fixedColumn(
      this.kind,
      this.width,
      this.#length,
      values,
      this.#validity.finish(this.#length),
    )
  }
}

class BytesBuilder implements ColumnBuilder {
  readonly kind = 'bytes'
  readonly width = 0
  #values: Uint8Array
  #offsets: Int32Array
  #used = 0
  #capacity: number
  #length = 0
  #generation = 0
  readonly #validity = new Validity()

  constructor(capacity: number) {
    this.#capacity = Math.max(8, capacity)
    this.#values = new Uint8Array(this.#capacity * 16)
    this.#offsets = new Int32Array(this.#capacity + 1)
  }

  get length(): number {
    return this.#length
  }
  get generation(): number {
    return this.#generation
  }
  get nullCount(): number {
    return this.#validity.nullCount
  }
  get allocatedBytes(): number {
    return (
      this.#values.byteLength + this.#offsets.byteLength + (this.#validity.bits?.byteLength ?? 0)
    )
  }

  reserve(rowCount: number, valueBytes = 0): void {
    const rows = this.#length + rowCount
    if (rows > this.#capacity) {
      this.#capacity = Math.max(rows, this.#capacity * 2)
      const grown = new Int32Array(this.#capacity + 1)
      grown.set(this.#offsets)
      this.#offsets = grown
      this.#validity.grow(this.#capacity)
      this.#generation += 1
    }
    const bytes = this.#used + valueBytes
    if (bytes > this.#values.length) {
      if (bytes > bytesColumnSizeMax) {
        throw new DatabaseError(SqlState.programLimitExceeded, 'column of a batch exceeds 2 GB')
      }
      const size = Math.min(Math.max(bytes, this.#values.length * 2), bytesColumnSizeMax)
      const grown = new Uint8Array(size)
      grown.set(this.#values.subarray(0, this.#used))
      this.#values = grown
      this.#generation += 1
    }
  }

  appendNull(): void {
    this.reserve(1)
    if (this.#validity.appendNull(this.#length, this.#capacity)) this.#generation += 1
    this.#length += 1
    this.#offsets[this.#length] = this.#used
  }

  appendDatum(datum: Datum): void {
    if (datum === null) {
      this.appendNull()
      return
    }
    this.reserve(1, datum.byteLength)
    this.#values.set(datum, this.#used)
    this.#used += datum.byteLength
    this.#validity.appendValid(this.#length)
    this.#length += 1
    this.#offsets[this.#length] = this.#used
  }

  appendColumn(column: Column, from = 0, to = column.length): void {
    if (column.kind !== 'bytes') {
      throw new InvariantError('COLUMN-1', `${column.kind} appended to bytes`)
    }
    invariant('COLUMN-2', from >= 0 && from <= to && to <= column.length, 'rows out of range')
    const first = column.offsets[from] ?? 0
    const last = column.offsets[to] ?? first
    this.reserve(to - from, last - first)
    this.#values.set(column.values.subarray(first, last), this.#used)
    const shift = this.#used - first
    for (let i = from + 1; i <= to; i += 1) {
      this.#offsets[this.#length + i - from] = (column.offsets[i] ?? 0) + shift
    }
    if (this.#validity.appendFrom(column, from, to, this.#length, this.#capacity)) {
      this.#generation += 1
    }
    this.#length += to - from
    this.#used += last - first
  }

  view(): Column {
    return bytesColumn(this.#length, this.#values, this.#offsets, this.#validity.bits)
  }

  finish(): Column {
    return bytesColumn(
      this.#length,
      this.#values.slice(0, this.#used),
      this.#offsets.slice(0, this.#length + 1),
      this.#validity.finish(this.#length),
    )
  }
}

function viewOf(values: FixedValues): DataView {
  return new DataView(values.buffer, values.byteOffset, values.byteLength)
}

function checkSize(datum: Uint8Array, size: number): void {
  if (datum.byteLength !== size) throw incorrectBinary()
}

function incorrectBinary(): DatabaseError {
  return new DatabaseError(SqlState.invalidBinaryRepresentation, 'incorrect binary data format')
}

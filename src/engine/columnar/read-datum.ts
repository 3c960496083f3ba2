/**
 * Between a column's row and one value in PostgreSQL's binary send format: big-endian integers and floats, bool one
 * byte, oid four bytes, vector int16 dimensions, int16 0, float4 each; `fixed` and `bytes` as they are.
 */
import { DatabaseError, InvariantError, SqlState } from '#base/errors.js'
import type { Column, Datum } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import type { FilterValue } from '#engine/plan/filter.js'

/**
 * One value in send format. `fixed` and `bytes` values are views into the column, the rest is fresh.
 * @param typeName decides the wire size where the column is wider: 'oid' is four bytes.
 */
export function readDatum(column: Column, row: number, typeName = ''): Datum {
  if (isNull(column, row)) return null
  switch (column.kind) {
    case 'bool':
      return new Uint8Array([column.values[row] ?? 0])
    case 'int16': {
      const value = column.values[row] ?? 0
      return new Uint8Array([value >> 8, value])
    }
    case 'int32': {
      const datum = new Uint8Array(4)
      putInt32(datum, 0, column.values[row] ?? 0)
      return datum
    }
    case 'int64':
      return int64Datum(column.values[row] ?? 0n, typeName)
    case 'float32':
      return float32Datum(column.values[row] ?? 0)
    case 'float64':
      return float64Datum(column.values[row] ?? 0)
    case 'fixed':
      return column.values.subarray(row * column.width, (row + 1) * column.width)
    case 'vector':
      return vectorDatum(
        column.values.subarray(row * column.dimensions, (row + 1) * column.dimensions),
      )
    case 'bytes':
      return column.values.subarray(column.offsets[row] ?? 0, column.offsets[row + 1] ?? 0)
  }
}

/** One value in the form filters and sort keys use; NULL is null. Bytes are views into the column. */
export function readFilterValue(column: Column, row: number): FilterValue | null {
  if (isNull(column, row)) return null
  switch (column.kind) {
    case 'bool':
    case 'int16':
    case 'int32':
    case 'float32':
    case 'float64':
      return column.values[row] ?? 0
    case 'int64':
      return column.values[row] ?? 0n
    case 'fixed':
      return column.values.subarray(row * column.width, (row + 1) * column.width)
    case 'vector':
      // A vector as a constant is its floats' bytes, little-endian.
      return new Uint8Array(
        column.values.buffer,
        column.values.byteOffset + row * column.dimensions * 4,
        column.dimensions * 4,
      )
    case 'bytes':
      return column.values.subarray(column.offsets[row] ?? 0, column.offsets[row + 1] ?? 0)
  }
}

/** The vector of a row as a view; undefined for NULL. */
export function readVector(column: Column, row: number): Float32Array | undefined {
  if (column.kind !== 'vector') throw new InvariantError('COLUMN-1', `${column.kind} is no vector`)
  if (isNull(column, row)) return undefined
  return column.values.subarray(row * column.dimensions, (row + 1) * column.dimensions)
}

/** A datum as a constant in the form of its column. @throws 22P03 when the size does not fit the kind. */
export function datumToFilterValue(
  schema: Pick<ColumnSchema, 'kind' | 'width'>,
  datum: Uint8Array,
): FilterValue {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  switch (schema.kind) {
    case 'bool':
      return checked(datum, 1)[0] === 0 ? 0 : 1
    case 'int16':
      checked(datum, 2)
      return view.getInt16(0)
    case 'int32':
      checked(datum, 4)
      return view.getInt32(0)
    case 'int64':
      if (datum.byteLength === 4) return BigInt(view.getUint32(0))
      checked(datum, 8)
      return view.getBigInt64(0)
    case 'float32':
      checked(datum, 4)
      return view.getFloat32(0)
    case 'float64':
      checked(datum, 8)
      return view.getFloat64(0)
    case 'fixed':
      return checked(datum, schema.width)
    case 'vector': {
      const floats = datumToVector(datum)
      return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
    }
    case 'bytes':
      return datum
  }
}

/** A filter constant back into send format. */
export function filterValueToDatum(
  schema: Pick<ColumnSchema, 'kind' | 'width'> & { readonly typeName?: string },
  value: FilterValue,
): Uint8Array {
  if (schema.kind === 'bool') return new Uint8Array([Number(value) === 0 ? 0 : 1])
  if (schema.kind === 'int16') {
    return new Uint8Array([Number(value) >> 8, Number(value)])
  }
  if (schema.kind === 'int32') return int32Datum(Number(value))
  if (schema.kind === 'int64') return int64Datum(BigInt(value as bigint), schema.typeName)
  if (schema.kind === 'float32') return float32Datum(Number(value))
  if (schema.kind === 'float64') return float64Datum(Number(value))
  if (!(value instanceof Uint8Array)) {
    throw new InvariantError('COLUMN-1', `constant of ${schema.kind} is no bytes`)
  }
  if (schema.kind !== 'vector') return value
  const copy = value.slice()
  return vectorDatum(new Float32Array(copy.buffer, 0, copy.byteLength >> 2))
}

export function int32Datum(value: number): Uint8Array {
  const datum = new Uint8Array(4)
  putInt32(datum, 0, value)
  return datum
}

/** int8, timestamp, time; with typeName 'oid' the four bytes of an oid. */
export function int64Datum(value: bigint, typeName = ''): Uint8Array {
  if (typeName === 'oid') return int32Datum(Number(BigInt.asIntN(32, value)))
  const datum = new Uint8Array(8)
  new DataView(datum.buffer).setBigInt64(0, value)
  return datum
}

export function float32Datum(value: number): Uint8Array {
  const datum = new Uint8Array(4)
  new DataView(datum.buffer).setFloat32(0, value)
  return datum
}

export function float64Datum(value: number): Uint8Array {
  const datum = new Uint8Array(8)
  new DataView(datum.buffer).setFloat64(0, value)
  return datum
}

/** pgvector's vector_send: int16 dimensions, int16 0, float4 each. */
export function vectorDatum(values: Float32Array): Uint8Array {
  const datum = new Uint8Array(4 + 4 * values.length)
  const view = new DataView(datum.buffer)
  view.setInt16(0, values.length)
  for (let i = 0; i < values.length; i += 1) view.setFloat32(4 + 4 * i, values[i] ?? 0)
  return datum
}

/** pgvector's vector_recv without the element checks. @throws 22P03 on a size that does not fit. */
export function datumToVector(datum: Uint8Array): Float32Array {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  const dimensions = datum.byteLength < 4 ? 0 : view.getUint16(0)
  if (datum.byteLength < 4 || datum.byteLength !== 4 + 4 * dimensions) checked(datum, -1)
  const values = new Float32Array(dimensions)
  for (let i = 0; i < dimensions; i += 1) values[i] = view.getFloat32(4 + 4 * i)
  return values
}

function putInt32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >> 24
  target[at + 1] = value >> 16
  target[at + 2] = value >> 8
  target[at + 3] = value
}

function checked(datum: Uint8Array, size: number): Uint8Array {
  if (datum.byteLength !== size) {
    throw new DatabaseError(SqlState.invalidBinaryRepresentation, 'incorrect binary data format')
  }
  return datum
}

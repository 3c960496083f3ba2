/**
 * Between a column's row and one value in PostgreSQL's binary send format: big-endian integers and floats, bool one
 * byte, oid four bytes, vector int16 dimensions, int16 0, float4 each; `fixed` and `bytes` as they are.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Column, Datum } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'

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
  if (datum.byteLength < 4 || datum.byteLength !== 4 + 4 * dimensions) checkedDatum(datum, -1)
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

/** @throws 22P03 when the datum has another size */
export function checkedDatum(datum: Uint8Array, size: number): Uint8Array {
  if (datum.byteLength !== size) {
    throw new DatabaseError(SqlState.invalidBinaryRepresentation, 'incorrect binary data format')
  }
  return datum
}

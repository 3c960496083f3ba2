/** Between constants of filters (FilterValue) and PostgreSQL's binary send format. */
import { InvariantError } from '#base/errors.js'
import {
  checkedDatum,
  datumToVector,
  float32Datum,
  float64Datum,
  int32Datum,
  int64Datum,
  vectorDatum,
} from '#engine/columnar/read-datum.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import type { FilterValue } from '#engine/plan/filter.js'

/** A datum as a constant in the form of its column. @throws 22P03 when the size does not fit the kind. */
export function datumToFilterValue(
  schema: Pick<ColumnSchema, 'kind' | 'width'>,
  datum: Uint8Array,
): FilterValue {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  switch (schema.kind) {
    case 'bool':
      return checkedDatum(datum, 1)[0] === 0 ? 0 : 1
    case 'int16':
      checkedDatum(datum, 2)
      return view.getInt16(0)
    case 'int32':
      checkedDatum(datum, 4)
      return view.getInt32(0)
    case 'int64':
      if (datum.byteLength === 4) return BigInt(view.getUint32(0))
      checkedDatum(datum, 8)
      return view.getBigInt64(0)
    case 'float32':
      checkedDatum(datum, 4)
      return view.getFloat32(0)
    case 'float64':
      checkedDatum(datum, 8)
      return view.getFloat64(0)
    case 'fixed':
      return checkedDatum(datum, schema.width)
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

/**
 * Comparing a stored column with a value of some type exactly as PostgreSQL's operator would. Only pairs of types whose
 * comparison is known to be the same natively have a comparer; all others are PostgreSQL's to judge.
 */
import type { Datum } from '#engine/columnar/column.js'
import type { CompareAs, Comparison, FilterNode, FilterValue } from '#engine/plan/filter.js'
import type { TableColumn } from '#postgres/contract.js'

export interface Comparer {
  readonly as: CompareAs
  compare(comparison: Comparison, value: Datum): FilterNode
}

const integerRange: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int16: [-32768n, 32767n],
  int32: [-2147483648n, 2147483647n],
  int64: [-9223372036854775808n, 9223372036854775807n],
}
const integers = new Set(['int2', 'int4', 'int8'])
const floats = new Set(['float4', 'float8'])
const texts = new Set(['text', 'varchar'])
/** Types compared only with themselves: by their fixed-width column, or byte by byte. */
const sameTypeNative = new Set(['date', 'time', 'timestamp', 'timestamptz', 'bool', 'oid'])
const sameTypeBytes = new Set(['uuid', 'bytea'])

export function comparerFor(column: TableColumn, valueType: string): Comparer | undefined {
  const type = column.typeName
  if (integers.has(type) && integers.has(valueType)) return integerComparer(column)
  if (floats.has(type) && floats.has(valueType)) return floatComparer(column)
  if (texts.has(type) && texts.has(valueType))
    return plainComparer(column, 'bytes', (datum) => datum)
  if (type === 'numeric' && valueType === 'numeric')
    return plainComparer(column, 'numeric', (datum) => datum)
  if (type !== valueType) return undefined
  if (sameTypeBytes.has(type)) return plainComparer(column, 'bytes', (datum) => datum)
  if (sameTypeNative.has(type)) return plainComparer(column, 'native', fixedValue(column))
  return undefined
}

function plainComparer(
  column: TableColumn,
  as: CompareAs,
  convert: (datum: Uint8Array) => FilterValue,
): Comparer {
  return {
    as,
    compare: (comparison, datum) =>
      datum === null
        ? { op: 'constant', value: null }
        : { op: 'compare', attnum: column.attnum, comparison, as, value: convert(datum) },
  }
}

function fixedValue(column: TableColumn): (datum: Uint8Array) => FilterValue {
  return (datum) => {
    const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
    if (column.kind === 'bool') return view.getUint8(0)
    if (column.kind === 'int32') return view.getInt32(0)
    if (datum.byteLength === 4) return BigInt(view.getUint32(0))
    return view.getBigInt64(0)
  }
}

function integerComparer(column: TableColumn): Comparer {
  const [min, max] = integerRange[column.kind] ?? [0n, 0n]
  const toValue = (value: bigint): FilterValue => (column.kind === 'int64' ? value : Number(value))
  const node = (comparison: Comparison, value: bigint): FilterNode => ({
    op: 'compare',
    attnum: column.attnum,
    comparison,
    as: 'native',
    value: toValue(value),
  })
  return {
    as: 'native',
    compare(comparison, datum) {
      if (datum === null) return { op: 'constant', value: null }
      const value = integerValue(datum)
      if (value >= min && value <= max) return node(comparison, value)
      // Outside the column's range the answer is the same for every row that is not NULL.
      const columnIsLess = value > max
      const holds =
        comparison === '<>' ||
        ((comparison === '<' || comparison === '<=') && columnIsLess) ||
        ((comparison === '>' || comparison === '>=') && !columnIsLess)
      return node(holds ? '>=' : '<', min)
    },
  }
}

function integerValue(datum: Uint8Array): bigint {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  if (datum.byteLength === 8) return view.getBigInt64(0)
  return BigInt(datum.byteLength === 4 ? view.getInt32(0) : view.getInt16(0))
}

function floatComparer(column: TableColumn): Comparer {
  return {
    as: 'native',
    compare(comparison, datum) {
      if (datum === null) return { op: 'constant', value: null }
      const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
      const value = datum.byteLength === 8 ? view.getFloat64(0) : view.getFloat32(0)
      const node = (changed: Comparison, constant: number): FilterNode => ({
        op: 'compare',
        attnum: column.attnum,
        comparison: changed,
        as: 'native',
        value: constant,
      })
      const rounded = Math.fround(value)
      if (column.kind === 'float64' || Number.isNaN(value) || rounded === value)
        return node(comparison, value)
      // A float4 column against a float8 that no float4 equals: move the bound to the neighbouring float4.
      if (comparison === '=') return node('<', Number.NEGATIVE_INFINITY)
      if (comparison === '<>') return node('>=', Number.NEGATIVE_INFINITY)
      const wantsLess = comparison === '<' || comparison === '<='
      if (rounded > value) return node(wantsLess ? '<' : '>=', rounded)
      return node(wantsLess ? '<=' : '>', rounded)
    },
  }
}

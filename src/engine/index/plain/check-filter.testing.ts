/** What native code refuses whether or not a row is looked at: the plain twin, row by row, would find it late or never. */
import type { Column } from '#engine/columnar/column.js'
import type { CompareAs, FilterNode, FilterValue } from '#engine/plan/filter.js'
import { nativeError } from './native-error.testing.js'

/** Rows that a column's buffers have room for. */
export function capacityOf(column: Column): number {
  const validRows =
    column.validity === undefined ? Number.POSITIVE_INFINITY : column.validity.length * 8
  switch (column.kind) {
    case 'bytes':
      return Math.min(validRows, column.offsets.length - 1)
    case 'vector':
      return Math.min(validRows, Math.floor(column.values.length / column.dimensions))
    case 'fixed':
      return Math.min(validRows, Math.floor(column.values.length / column.width))
    default:
      return Math.min(validRows, column.values.length)
  }
}

export function findColumn(
  columns: ReadonlyMap<number, Column>,
  attnum: number,
  rowCount: number,
): Column {
  const column = columns.get(attnum)
  if (column === undefined) throw nativeError('XX000', `segment has no column ${attnum}`)
  if (capacityOf(column) < rowCount) throw nativeError('XX000', `column ${attnum} is too short`)
  return column
}

export function checkComparable(column: Column, as: CompareAs): void {
  const bytes = column.kind === 'bytes' || column.kind === 'fixed'
  if (
    column.kind === 'vector' ||
    bytes !== (as !== 'native') ||
    (as === 'numeric' && column.kind !== 'bytes')
  ) {
    throw nativeError('XX000', 'column cannot be compared this way')
  }
}

function checkConstant(value: FilterValue, as: CompareAs): void {
  if (value instanceof Uint8Array !== (as !== 'native')) {
    throw nativeError('XX000', 'filter constant is of the wrong kind')
  }
}

function checkPattern(pattern: Uint8Array): void {
  const backslash = 0x5c
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === backslash && ++i === pattern.length) {
      throw nativeError('22025', 'LIKE pattern must not end with escape character')
    }
  }
}

export function checkDimensions(dimensions: number, query: Float32Array): void {
  if (dimensions === query.length) return
  throw nativeError('22000', `different vector dimensions ${dimensions} and ${query.length}`)
}

export function checkFilter(
  node: FilterNode,
  columns: ReadonlyMap<number, Column>,
  rowCount: number,
): void {
  const find = (attnum: number) => findColumn(columns, attnum, rowCount)
  switch (node.op) {
    case 'and':
    case 'or':
      for (const arg of node.args) checkFilter(arg, columns, rowCount)
      return
    case 'not':
      checkFilter(node.arg, columns, rowCount)
      return
    case 'constant':
      return
    case 'isNull':
      find(node.attnum)
      return
    case 'boolean':
      if (find(node.attnum).kind !== 'bool') throw nativeError('XX000', 'column is not boolean')
      return
    case 'compare':
      checkComparable(find(node.attnum), node.as)
      checkConstant(node.value, node.as)
      return
    case 'in':
      checkComparable(find(node.attnum), node.as)
      for (const value of node.values) checkConstant(value, node.as)
      return
    case 'like':
      if (find(node.attnum).kind !== 'bytes') throw nativeError('XX000', 'column is not text')
      checkPattern(node.pattern)
      return
    case 'compareColumns':
      checkComparable(find(node.attnum), node.as)
      checkComparable(find(node.otherAttnum), node.as)
      return
    case 'distance': {
      const column = find(node.attnum)
      if (column.kind !== 'vector') throw nativeError('XX000', 'column is not a vector')
      checkDimensions(column.dimensions, node.query)
      return
    }
  }
}

/** A filter judged row by row in plain TypeScript: the twin that judges the native filter machine. */
import { DatabaseError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { pgDistance } from '#engine/index/flat.js'
import type { CompareAs, Comparison, FilterNode, FilterValue } from './filter.js'
import { compareBytes, compareFloats, compareNumerics } from './filter-order.js'

export type ColumnsByAttnum = ReadonlyMap<number, Column>
type Truth = boolean | null

export function isValid(column: Column, row: number): boolean {
  return (
    column.validity === undefined || (((column.validity[row >> 3] ?? 0) >> (row & 7)) & 1) === 1
  )
}

/** The value of a row that is not NULL, in the form of a filter constant. Vectors have none. */
export function valueAt(column: Column, row: number): FilterValue {
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
    case 'bytes':
      return column.values.subarray(column.offsets[row], column.offsets[row + 1])
    case 'vector':
      throw new DatabaseError('XX000', 'column cannot be compared this way')
  }
}

/** Less than zero, zero, greater than zero. Integers compare exactly; with a float both are floats, as in PostgreSQL. */
export function compareValues(
  a: FilterValue,
  b: FilterValue,
  as: CompareAs,
  isFloat: boolean,
): number {
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    if (!(a instanceof Uint8Array && b instanceof Uint8Array) || as === 'native') {
      throw new DatabaseError('XX000', 'filter constant is of the wrong kind')
    }
    return as === 'numeric' ? compareNumerics(a, b) : compareBytes(a, b)
  }
  if (isFloat || (typeof a === 'number' && typeof b === 'number'))
    return compareFloats(Number(a), Number(b))
  if (Number.isNaN(a)) return 1
  if (Number.isNaN(b)) return -1
  return a < b ? -1 : a > b ? 1 : 0
}

function holds(comparison: Comparison, order: number): boolean {
  switch (comparison) {
    case '=':
      return order === 0
    case '<>':
      return order !== 0
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '>':
      return order > 0
    case '>=':
      return order >= 0
  }
}

/** LIKE by recursion over characters: what SQL says, slowly. */
function like(text: string, pattern: string): boolean {
  const t = Array.from(text)
  const p = Array.from(pattern)
  const reach = new Set<number>([0])
  let positions = reach
  for (let i = 0; i < p.length; i++) {
    const next = new Set<number>()
    if (p[i] === '%') {
      const least = Math.min(...positions)
      for (let at = least; at <= t.length; at++) next.add(at)
    } else {
      const any = p[i] === '_'
      if (p[i] === '\\') i++
      for (const at of positions) if (at < t.length && (any || t[at] === p[i])) next.add(at + 1)
    }
    if (next.size === 0) return false
    positions = next
  }
  return positions.has(t.length)
}

function checkPattern(pattern: string): void {
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '\\' && ++i === pattern.length) {
      throw new DatabaseError('22025', 'LIKE pattern must not end with escape character')
    }
  }
}

function holdsFloats(column: Column): boolean {
  return column.kind === 'float32' || column.kind === 'float64'
}

export function evaluateFilter(node: FilterNode, columns: ColumnsByAttnum, row: number): Truth {
  const find = (attnum: number): Column => {
    const column = columns.get(attnum)
    if (column === undefined) throw new DatabaseError('XX000', `segment has no column ${attnum}`)
    return column
  }
  switch (node.op) {
    case 'and': {
      const truths = node.args.map((arg) => evaluateFilter(arg, columns, row))
      return truths.includes(false) ? false : truths.includes(null) ? null : true
    }
    case 'or': {
      const truths = node.args.map((arg) => evaluateFilter(arg, columns, row))
      return truths.includes(true) ? true : truths.includes(null) ? null : false
    }
    case 'not': {
      const truth = evaluateFilter(node.arg, columns, row)
      return truth === null ? null : !truth
    }
    case 'constant':
      return node.value
    case 'isNull':
      return !isValid(find(node.attnum), row)
    case 'boolean': {
      const column = find(node.attnum)
      return isValid(column, row) ? valueAt(column, row) !== 0 : null
    }
    case 'compare': {
      const column = find(node.attnum)
      if (!isValid(column, row)) return null
      return holds(
        node.comparison,
        compareValues(valueAt(column, row), node.value, node.as, holdsFloats(column)),
      )
    }
    case 'in': {
      const column = find(node.attnum)
      if (!isValid(column, row)) return null
      const value = valueAt(column, row)
      const found = node.values.some(
        (other) => compareValues(value, other, node.as, holdsFloats(column)) === 0,
      )
      return found ? true : node.hasNull ? null : false
    }
    case 'like': {
      const column = find(node.attnum)
      const pattern = Buffer.from(node.pattern).toString('utf8')
      checkPattern(pattern)
      if (!isValid(column, row)) return null
      return like(Buffer.from(valueAt(column, row) as Uint8Array).toString('utf8'), pattern)
    }
    case 'compareColumns': {
      const a = find(node.attnum)
      const b = find(node.otherAttnum)
      if (!isValid(a, row) || !isValid(b, row)) return null
      const floats = holdsFloats(a) || holdsFloats(b)
      return holds(
        node.comparison,
        compareValues(valueAt(a, row), valueAt(b, row), node.as, floats),
      )
    }
    case 'distance': {
      const column = find(node.attnum)
      if (column.kind !== 'vector') throw new DatabaseError('XX000', 'column is not a vector')
      if (!isValid(column, row)) return null
      const d = pgDistance(node.metric, node.query, column.values, row * column.dimensions)
      return holds(node.comparison, compareFloats(d, node.radius))
    }
  }
}

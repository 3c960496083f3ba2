/**
 * Compiles a deparsed filter into something that builds a FilterNode once the slots have values. What cannot be judged
 * natively with exactly PostgreSQL's verdict is left to PostgreSQL: compile returns undefined.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import { datumToVector } from '#engine/columnar/read-datum.js'
import type { Comparison, FilterNode } from '#engine/plan/filter.js'
import { comparerFor } from '#nodes/proxy/plan/compare.js'
import { asDistance, type DistanceExpression } from '#nodes/proxy/plan/distance.js'
import { type Expression, isColumnFree } from '#nodes/proxy/plan/expression.js'
import { arrayElements, type SlotCollector, type SlotValues } from '#nodes/proxy/plan/slots.js'
import type { TableColumn, TableInfo } from '#postgres/contract.js'

export type FilterBuilder = (values: SlotValues) => FilterNode

/** What is known of an expression's type without asking PostgreSQL: constants and parameters; else undefined. */
export type TypeOf = (
  expression: Expression,
) => { readonly name: string; readonly array: boolean } | undefined

export interface FilterScope {
  readonly table: TableInfo
  /** Name under which the plan knows the scan: a column of any other is a value from outside (a correlated sub-select). */
  readonly alias: string
  readonly slots: SlotCollector
  readonly typeOf: TypeOf
}

const comparisons: ReadonlySet<string> = new Set(['=', '<>', '<', '<=', '>', '>='])
const mirrored: Record<Comparison, Comparison> = {
  '=': '=',
  '<>': '<>',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
}

/** @returns undefined when PostgreSQL must judge; slots added by the attempt are then taken back. */
export function compileFilter(
  expression: Expression,
  scope: FilterScope,
): FilterBuilder | undefined {
  const before = scope.slots.length
  const built = compile(expression, scope)
  if (built === undefined) scope.slots.truncate(before)
  return built
}

function compile(expression: Expression, scope: FilterScope): FilterBuilder | undefined {
  switch (expression.kind) {
    case 'and':
    case 'or': {
      const op = expression.kind
      const parts: FilterBuilder[] = []
      for (const argument of expression.arguments) {
        const part = compile(argument, scope)
        if (part === undefined) return undefined
        parts.push(part)
      }
      return (values) => ({ op, args: parts.map((part) => part(values)) })
    }
    case 'not': {
      const inner = compile(expression.argument, scope)
      return inner && ((values) => ({ op: 'not', arg: inner(values) }))
    }
    case 'nullTest': {
      const column = columnOf(expression.argument, scope.table, scope.alias)
      if (column === undefined) return undefined
      const test: FilterNode = { op: 'isNull', attnum: column.attnum }
      const node: FilterNode = expression.isNull ? test : { op: 'not', arg: test }
      return () => node
    }
    case 'column': {
      const column = columnOf(expression, scope.table, scope.alias)
      if (column?.typeName !== 'bool') return undefined
      const node: FilterNode = { op: 'boolean', attnum: column.attnum }
      return () => node
    }
    case 'constant': {
      if (expression.type?.name !== 'bool') return undefined
      const text = expression.text
      const node: FilterNode = {
        op: 'constant',
        value: text === null ? null : text.startsWith('t'),
      }
      return () => node
    }
    case 'operator':
      return compileOperator(expression, scope)
    case 'any':
      return compileAny(expression, scope)
    case 'parameter':
    case 'cast':
    case 'call':
    case 'currentTimestamp':
    case 'other':
      return undefined
    default:
      return expression satisfies never
  }
}

function compileOperator(
  expression: Extract<Expression, { kind: 'operator' }>,
  scope: FilterScope,
): FilterBuilder | undefined {
  const { name, left, right } = expression
  if (left === undefined) return undefined
  if (name === '~~') return compileLike(left, right, scope)
  if (!comparisons.has(name)) return undefined
  const comparison = name as Comparison
  const leftDistance = asDistance(left)
  if (leftDistance !== undefined && isColumnFree(right)) {
    return compileRange(leftDistance, comparison, right, scope)
  }
  const leftColumn = columnOf(left, scope.table, scope.alias)
  const rightColumn = columnOf(right, scope.table, scope.alias)
  if (leftColumn !== undefined && rightColumn !== undefined) {
    const comparer = comparerFor(leftColumn, rightColumn.typeName)
    if (comparer === undefined || leftColumn.typeName !== rightColumn.typeName) return undefined
    const node: FilterNode = {
      op: 'compareColumns',
      attnum: leftColumn.attnum,
      comparison,
      as: comparer.as,
      otherAttnum: rightColumn.attnum,
    }
    return () => node
  }
  if (leftColumn !== undefined) return compileCompare(leftColumn, comparison, right, scope)
  if (rightColumn !== undefined)
    return compileCompare(rightColumn, mirrored[comparison], left, scope)
  return undefined
}

function compileCompare(
  column: TableColumn,
  comparison: Comparison,
  value: Expression,
  scope: FilterScope,
): FilterBuilder | undefined {
  if (!isColumnFree(value)) return undefined
  const type = scope.typeOf(value)
  if (type === undefined || type.array) return undefined
  const comparer = comparerFor(column, type.name)
  if (comparer === undefined) return undefined
  const slot = scope.slots.add(value)
  return (values) => comparer.compare(comparison, values[slot] ?? null)
}

function compileAny(
  expression: Extract<Expression, { kind: 'any' }>,
  scope: FilterScope,
): FilterBuilder | undefined {
  const column = columnOf(expression.left, scope.table, scope.alias)
  if (expression.name !== '=' || column === undefined || !isColumnFree(expression.right))
    return undefined
  const type = scope.typeOf(expression.right)
  if (type === undefined || !type.array) return undefined
  const comparer = comparerFor(column, type.name)
  if (comparer === undefined) return undefined
  const slot = scope.slots.add(expression.right)
  return (values) => {
    const array = values[slot] ?? null
    if (array === null) return { op: 'constant', value: null }
    const elements = arrayElements(array)
    const nodes = elements
      .filter((element) => element !== null)
      .map((element) => comparer.compare('=', element))
    const hasNull = elements.some((element) => element === null)
    const plain = nodes.every((node) => node.op === 'compare')
    if (!plain) {
      const args: FilterNode[] = [...nodes]
      if (hasNull) args.push({ op: 'constant', value: null })
      return { op: 'or', args }
    }
    return {
      op: 'in',
      attnum: column.attnum,
      as: comparer.as,
      values: nodes.map((node) => (node.op === 'compare' ? node.value : 0)),
      hasNull,
    }
  }
}

function compileLike(
  left: Expression,
  right: Expression,
  scope: FilterScope,
): FilterBuilder | undefined {
  const column = columnOf(left, scope.table, scope.alias)
  if (column === undefined || (column.typeName !== 'text' && column.typeName !== 'varchar'))
    return undefined
  if (!isColumnFree(right)) return undefined
  const type = scope.typeOf(right)
  if (type === undefined || type.array || (type.name !== 'text' && type.name !== 'varchar'))
    return undefined
  const slot = scope.slots.add(right)
  return (values) => {
    const pattern = values[slot] ?? null
    if (pattern === null) return { op: 'constant', value: null }
    return { op: 'like', attnum: column.attnum, pattern }
  }
}

function compileRange(
  distance: DistanceExpression,
  comparison: Comparison,
  radius: Expression,
  scope: FilterScope,
): FilterBuilder | undefined {
  const column = columnOf(distance.column, scope.table, scope.alias)
  if (column?.kind !== 'vector') return undefined
  const radiusType = scope.typeOf(radius)
  if (radiusType?.name !== 'float8' || radiusType.array) return undefined
  const querySlot = scope.slots.add(distance.query)
  const radiusSlot = scope.slots.add(radius)
  return (values) => {
    const query = values[querySlot] ?? null
    const limit = values[radiusSlot] ?? null
    if (query === null || limit === null) return { op: 'constant', value: null }
    return {
      op: 'distance',
      attnum: column.attnum,
      metric: distance.metric,
      query: queryVector(query, column),
      comparison,
      radius: new DataView(limit.buffer, limit.byteOffset, 8).getFloat64(0),
    }
  }
}

/** @throws DatabaseError 22000 as pgvector's distance functions do */
export function queryVector(datum: Uint8Array, column: TableColumn): Float32Array {
  const vector = datumToVector(datum)
  if (vector.length !== column.width) {
    throw new DatabaseError(
      SqlState.dataException,
      `different vector dimensions ${column.width} and ${vector.length}`,
    )
  }
  return vector
}

/**
 * The column, also under a cast that only relabels its type (varchar → text).
 * @param alias undefined: the plan has one scan only
 */
export function columnOf(
  expression: Expression,
  table: TableInfo,
  alias: string | undefined,
): TableColumn | undefined {
  if (expression.kind === 'column') {
    const { qualifier, name } = expression
    if (qualifier !== undefined && alias !== undefined && qualifier !== alias) return undefined
    return table.columns.find((column) => column.name === name)
  }
  if (expression.kind === 'cast' && expression.type.name === 'text' && !expression.type.array) {
    const column = columnOf(expression.argument, table, alias)
    return column?.typeName === 'varchar' || column?.typeName === 'text' ? column : undefined
  }
  return undefined
}

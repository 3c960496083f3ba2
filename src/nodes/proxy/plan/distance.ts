/** Distance expressions: which operator or function of pgvector means which metric, and what keeps their order. */
import type { Metric } from '#engine/columnar/schema.js'
import { type Expression, isColumnFree } from '#nodes/proxy/plan/expression.js'
import { vectorOperators } from '#nodes/proxy/plan/operators.js'

export type ColumnReference = Extract<Expression, { kind: 'column' }>

/** distance(column, query): smaller is nearer. */
export interface DistanceExpression {
  readonly metric: Metric
  /** Reference to the vector column; whose it is, the caller must check. */
  readonly column: ColumnReference
  readonly query: Expression
}

/** @returns the distance if `expression` is exactly a distance between a column and a column-free vector */
export function asDistance(expression: Expression): DistanceExpression | undefined {
  if (expression.kind === 'operator' && expression.left !== undefined) {
    const metric = vectorOperators.byOperator.get(expression.name)
    return metric === undefined ? undefined : ofSides(metric, expression.left, expression.right)
  }
  if (expression.kind === 'call' && expression.arguments.length === 2) {
    const metric = vectorOperators.byFunction.get(expression.name)
    const [left, right] = expression.arguments
    if (metric === undefined || left === undefined || right === undefined) return undefined
    return ofSides(metric, left, right)
  }
  return undefined
}

function ofSides(
  metric: Metric,
  left: Expression,
  right: Expression,
): DistanceExpression | undefined {
  const leftColumn = vectorColumn(left)
  if (leftColumn !== undefined && isColumnFree(right))
    return { metric, column: leftColumn, query: right }
  const rightColumn = vectorColumn(right)
  if (rightColumn !== undefined && isColumnFree(left))
    return { metric, column: rightColumn, query: left }
  return undefined
}

/** The column itself, or a cast of it to vector that changes no value (vector → vector(n)). */
function vectorColumn(expression: Expression): ColumnReference | undefined {
  if (expression.kind === 'column') return expression
  if (expression.kind === 'cast' && expression.type.name === 'vector' && !expression.type.array) {
    return expression.argument.kind === 'column' ? expression.argument : undefined
  }
  return undefined
}

/**
 * Strips what keeps (or exactly reverses) the order of a distance: 1 - d, -d, d * c, d + c, (d)::real,
 * inner_product (= -d). Users write similarity DESC for distance ASC.
 * @returns the distance and whether rising expression means rising distance; undefined if not monotone for sure
 */
export function asMonotoneDistance(
  expression: Expression,
):
  | { readonly distance: DistanceExpression; readonly rising: boolean; readonly exact: boolean }
  | undefined {
  const distance = asDistance(expression)
  if (distance !== undefined) return { distance, rising: true, exact: true }
  if (
    expression.kind === 'call' &&
    expression.name === 'inner_product' &&
    expression.arguments.length === 2
  ) {
    const [left, right] = expression.arguments
    const inner = left && right ? ofSides('inner', left, right) : undefined
    return inner === undefined ? undefined : { distance: inner, rising: false, exact: false }
  }
  if (
    expression.kind === 'cast' &&
    ['float4', 'float8', 'numeric'].includes(expression.type.name)
  ) {
    const below = expression.type.modified ? undefined : asMonotoneDistance(expression.argument)
    return below && { ...below, exact: false }
  }
  if (expression.kind !== 'operator') return undefined
  const { name, left, right } = expression
  if (left === undefined) {
    const below = name === '-' ? asMonotoneDistance(right) : undefined
    return below && { distance: below.distance, rising: !below.rising, exact: false }
  }
  const rightNumber = numberOf(right)
  const leftNumber = numberOf(left)
  if (rightNumber !== undefined) {
    const below = asMonotoneDistance(left)
    if (below === undefined) return undefined
    if (name === '+' || name === '-') return { ...below, exact: false }
    if ((name === '*' || name === '/') && rightNumber !== 0 && Number.isFinite(rightNumber)) {
      return { distance: below.distance, rising: below.rising === rightNumber > 0, exact: false }
    }
    return undefined
  }
  if (leftNumber !== undefined) {
    const below = asMonotoneDistance(right)
    if (below === undefined) return undefined
    if (name === '+') return { ...below, exact: false }
    if (name === '-') return { distance: below.distance, rising: !below.rising, exact: false }
    if (name === '*' && leftNumber !== 0 && Number.isFinite(leftNumber)) {
      return { distance: below.distance, rising: below.rising === leftNumber > 0, exact: false }
    }
  }
  return undefined
}

function numberOf(expression: Expression): number | undefined {
  if (expression.kind === 'cast') return numberOf(expression.argument)
  if (expression.kind === 'operator' && expression.name === '-' && expression.left === undefined) {
    const value = numberOf(expression.right)
    return value === undefined ? undefined : -value
  }
  if (expression.kind !== 'constant' || expression.text === null) return undefined
  const value = Number(expression.text)
  // What rounds away more than the executor's allowance for ties (search.ts) does not keep the order.
  const keepsOrder = value === 0 || (Math.abs(value) >= 1e-6 && Math.abs(value) <= 1e6)
  return keepsOrder ? value : undefined
}

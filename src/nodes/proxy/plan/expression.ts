/**
 * Expressions as PostgreSQL deparses them in EXPLAIN: every operator resolved, every constant with its cast. Parsed with
 * PostgreSQL's own grammar into the few forms the planner understands; everything else is 'other' and stays
 * PostgreSQL's to judge.
 */
import { type ParsedStatement, parseStatements } from '#postgres/classify.js'

export type Expression =
  | { readonly kind: 'column'; readonly qualifier: string | undefined; readonly name: string }
  /** text null: the NULL constant. type undefined: a bare literal. */
  | {
      readonly kind: 'constant'
      readonly text: string | null
      readonly type: TypeReference | undefined
    }
  | { readonly kind: 'parameter'; readonly index: number }
  | { readonly kind: 'cast'; readonly argument: Expression; readonly type: TypeReference }
  | {
      readonly kind: 'operator'
      readonly name: string
      readonly left: Expression | undefined
      readonly right: Expression
    }
  | {
      readonly kind: 'any'
      readonly name: string
      readonly left: Expression
      readonly right: Expression
    }
  | { readonly kind: 'and' | 'or'; readonly arguments: readonly Expression[] }
  | { readonly kind: 'not'; readonly argument: Expression }
  | { readonly kind: 'nullTest'; readonly argument: Expression; readonly isNull: boolean }
  | {
      readonly kind: 'call'
      readonly name: string
      readonly arguments: readonly Expression[]
      readonly star: boolean
    }
  | { readonly kind: 'currentTimestamp' }
  | { readonly kind: 'other' }

export interface TypeReference {
  /** pg_type.typname of the element type. */
  readonly name: string
  readonly array: boolean
  /** True when a typmod was printed, e.g. numeric(10,2), vector(3). */
  readonly modified: boolean
}

// The parse tree is JSON of PostgreSQL's nodes; only the shapes read below matter.
type Node = { readonly [key: string]: unknown }

function asNode(value: unknown): Node {
  return typeof value === 'object' && value !== null ? (value as Node) : {}
}
function asList(value: unknown): readonly Node[] {
  return Array.isArray(value) ? (value as Node[]) : []
}
function stringOf(value: unknown): string {
  const inner = asNode(asNode(value)['String'])['sval']
  return typeof inner === 'string' ? inner : ''
}

/** @returns 'other' when the text is not an expression of SQL (SubPlan and InitPlan references print as such). */
export function parseExpression(text: string): Expression {
  let statements: readonly ParsedStatement[]
  try {
    statements = parseStatements(`SELECT ${text}`)
  } catch {
    return { kind: 'other' }
  }
  if (statements.length !== 1) return { kind: 'other' }
  const select = asNode(statements[0]?.tree)
  const targets = asList(select['targetList'])
  if (targets.length !== 1 || select['fromClause'] !== undefined) return { kind: 'other' }
  return toExpression(asNode(asNode(targets[0])['ResTarget'])['val'])
}

export function toExpression(value: unknown): Expression {
  const node = asNode(value)
  const [kind] = Object.keys(node)
  const body = asNode(kind === undefined ? undefined : node[kind])
  switch (kind) {
    case 'ColumnRef':
      return columnReference(body)
    case 'A_Const':
      return { kind: 'constant', text: constantText(body), type: literalType(body) }
    case 'ParamRef':
      return { kind: 'parameter', index: Number(body['number'] ?? 0) }
    case 'TypeCast':
      return cast(body)
    case 'A_Expr':
      return operator(body)
    case 'BoolExpr':
      return booleanExpression(body)
    case 'NullTest':
      return {
        kind: 'nullTest',
        argument: toExpression(body['arg']),
        isNull: body['nulltesttype'] === 'IS_NULL',
      }
    case 'FuncCall':
      return call(body)
    case 'SQLValueFunction':
      return body['op'] === 'SVFOP_CURRENT_TIMESTAMP'
        ? { kind: 'currentTimestamp' }
        : { kind: 'other' }
    default:
      return { kind: 'other' }
  }
}

function columnReference(body: Node): Expression {
  const fields = asList(body['fields']).map(stringOf)
  const [first, second] = fields
  if (fields.some((field) => field === '') || first === undefined) return { kind: 'other' }
  if (fields.length === 1) return { kind: 'column', qualifier: undefined, name: first }
  if (fields.length === 2 && second !== undefined) {
    return { kind: 'column', qualifier: first, name: second }
  }
  return { kind: 'other' }
}

function constantText(body: Node): string | null {
  if (body['isnull'] === true) return null
  const ival = body['ival']
  if (ival !== undefined) return String(asNode(ival)['ival'] ?? 0)
  const fval = body['fval']
  if (fval !== undefined) return String(asNode(fval)['fval'])
  const sval = body['sval']
  if (sval !== undefined) return String(asNode(sval)['sval'] ?? '')
  const boolval = body['boolval']
  if (boolval !== undefined) return asNode(boolval)['boolval'] === true ? 't' : 'f'
  return null
}

function literalType(body: Node): TypeReference | undefined {
  const plain = (name: string): TypeReference => ({ name, array: false, modified: false })
  if (body['ival'] !== undefined) return plain('int4')
  if (body['fval'] !== undefined) {
    const text = String(asNode(body['fval'])['fval'])
    return /^\d+$/.test(text) && BigInt(text) <= 9223372036854775807n
      ? plain('int8')
      : plain('numeric')
  }
  if (body['boolval'] !== undefined) return plain('bool')
  return undefined
}

export function typeReference(value: unknown): TypeReference | undefined {
  const node = asNode(value)
  const names = asList(node['names']).map(stringOf)
  const name = names.at(-1)
  if (name === undefined || name === '') return undefined
  return {
    name,
    array: node['arrayBounds'] !== undefined,
    modified: node['typmods'] !== undefined,
  }
}

function cast(body: Node): Expression {
  const type = typeReference(body['typeName'])
  const argument = toExpression(body['arg'])
  if (type === undefined) return { kind: 'other' }
  // 'x'::t is how PostgreSQL prints a constant of type t.
  if (argument.kind === 'constant' && !type.modified)
    return { kind: 'constant', text: argument.text, type }
  return { kind: 'cast', argument, type }
}

function operator(body: Node): Expression {
  const name = asList(body['name']).map(stringOf).at(-1) ?? ''
  const left = body['lexpr'] === undefined ? undefined : toExpression(body['lexpr'])
  const right = toExpression(body['rexpr'])
  if (body['kind'] === 'AEXPR_OP') return { kind: 'operator', name, left, right }
  if (body['kind'] === 'AEXPR_OP_ANY' && left !== undefined)
    return { kind: 'any', name, left, right }
  return { kind: 'other' }
}

function booleanExpression(body: Node): Expression {
  const args = asList(body['args']).map(toExpression)
  const first = args[0]
  if (body['boolop'] === 'AND_EXPR') return { kind: 'and', arguments: args }
  if (body['boolop'] === 'OR_EXPR') return { kind: 'or', arguments: args }
  return first === undefined ? { kind: 'other' } : { kind: 'not', argument: first }
}

function call(body: Node): Expression {
  const name = asList(body['funcname']).map(stringOf).at(-1) ?? ''
  const plain =
    body['agg_distinct'] === undefined &&
    body['agg_order'] === undefined &&
    body['agg_filter'] === undefined &&
    body['agg_within_group'] === undefined &&
    body['over'] === undefined &&
    body['func_variadic'] === undefined
  if (!plain) return { kind: 'other' }
  return {
    kind: 'call',
    name,
    arguments: asList(body['args']).map(toExpression),
    star: body['agg_star'] === true,
  }
}

/** Functions without arguments or of folded arguments that PostgreSQL may evaluate once per statement. */
const foldableCalls = new Set([
  'now',
  'transaction_timestamp',
  'statement_timestamp',
  'current_setting',
  'lower',
  'upper',
  'date_trunc',
  'abs',
  'length',
  'to_timestamp',
  'l2_normalize',
  'concat',
  'md5',
])

/** True when the expression has no column in it and the same value all through one statement. */
export function isColumnFree(expression: Expression): boolean {
  switch (expression.kind) {
    case 'constant':
    case 'parameter':
    case 'currentTimestamp':
      return true
    case 'cast':
    case 'not':
    case 'nullTest':
      return isColumnFree(expression.argument)
    case 'operator':
      return (
        (expression.left === undefined || isColumnFree(expression.left)) &&
        isColumnFree(expression.right)
      )
    case 'any':
      return isColumnFree(expression.left) && isColumnFree(expression.right)
    case 'and':
    case 'or':
      return expression.arguments.every(isColumnFree)
    case 'call':
      return foldableCalls.has(expression.name) && expression.arguments.every(isColumnFree)
    case 'column':
    case 'other':
      return false
    default:
      return expression satisfies never
  }
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteLiteral(text: string): string {
  return text.includes('\\')
    ? `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`
}

/** SQL text of a column-free expression, to be evaluated by PostgreSQL. */
export function toSql(expression: Expression): string {
  switch (expression.kind) {
    case 'constant': {
      const literal = expression.text === null ? 'NULL' : quoteLiteral(expression.text)
      return expression.type === undefined ? literal : `${literal}::${typeSql(expression.type)}`
    }
    case 'parameter':
      return `$${expression.index}`
    case 'currentTimestamp':
      return 'CURRENT_TIMESTAMP'
    case 'cast':
      return `(${toSql(expression.argument)})::${typeSql(expression.type)}`
    case 'not':
      return `(NOT ${toSql(expression.argument)})`
    case 'nullTest':
      return `(${toSql(expression.argument)} IS ${expression.isNull ? '' : 'NOT '}NULL)`
    case 'operator':
      return `(${expression.left === undefined ? '' : toSql(expression.left)} ${expression.name} ${toSql(expression.right)})`
    case 'any':
      return `(${toSql(expression.left)} ${expression.name} ANY (${toSql(expression.right)}))`
    case 'and':
    case 'or':
      return `(${expression.arguments.map(toSql).join(expression.kind === 'and' ? ' AND ' : ' OR ')})`
    case 'call':
      return `${quoteIdentifier(expression.name)}(${expression.star ? '*' : expression.arguments.map(toSql).join(', ')})`
    case 'column':
    case 'other':
      return 'NULL'
    default:
      return expression satisfies never
  }
}

function typeSql(type: TypeReference): string {
  return `${quoteIdentifier(type.name)}${type.array ? '[]' : ''}`
}

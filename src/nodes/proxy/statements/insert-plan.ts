/** What of an INSERT can be known before its parameters: cached per statement text, settings and catalog version. */
import type { Datum } from '#engine/columnar/column.js'
import { parseText } from '#engine/types/parse-text.js'
import { toExpression } from '#nodes/proxy/plan/expression.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { needsPostgres } from '#nodes/proxy/statements/insert-defaults.js'
import { isPlainType } from '#nodes/proxy/statements/insert-value.js'
import { storedColumns } from '#nodes/proxy/statements/read-rows.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import type { ParsedStatement, TreeNode } from '#postgres/classify.js'
import type { FieldDescription, TableColumn, TableInfo } from '#postgres/contract.js'

export type ValueSource =
  | { readonly kind: 'default' }
  | { readonly kind: 'constant'; readonly datum: Datum }
  | { readonly kind: 'parameter'; readonly index: number }

export interface InsertPlan {
  readonly table: TableInfo
  readonly parameterTypes: readonly number[]
  /** Per row, per stored column. */
  readonly rows: readonly (readonly ValueSource[])[]
  readonly fields: readonly FieldDescription[]
  readonly returning: readonly TableColumn[]
}

interface Cached {
  readonly version: number
  readonly planKey: string
  readonly parameterTypes: string
  readonly plan: InsertPlan | undefined
}

const cached = new WeakMap<ParsedStatement, Cached>()

/** Statements with more rows are made once and not worth remembering. */
const rememberedRowCountMax = 100

/** @returns undefined when the statement is not of the plain kind */
export async function insertPlan(execution: Execution): Promise<InsertPlan | undefined> {
  const { parsed, catalog, settings, bound, transaction } = execution
  if (transaction.pendingDdl.length > 0) return undefined
  const parameterTypes = bound.parameterTypes.join()
  const known = cached.get(parsed)
  if (
    known?.version === catalog.version &&
    known.planKey === settings.planKey() &&
    known.parameterTypes === parameterTypes
  ) {
    return known.plan
  }
  const plan = await makePlan(execution)
  if (plan === undefined || plan.rows.length <= rememberedRowCountMax) {
    cached.set(parsed, {
      version: catalog.version,
      planKey: settings.planKey(),
      parameterTypes,
      plan,
    })
  }
  return plan
}

async function makePlan(execution: Execution): Promise<InsertPlan | undefined> {
  const { parsed, environment, settings, bound, catalog } = execution
  const { tree } = parsed
  if (tree['onConflictClause'] !== undefined || tree['withClause'] !== undefined) return undefined
  if (String(tree['override'] ?? 'OVERRIDING_NOT_SET') !== 'OVERRIDING_NOT_SET') return undefined
  const select = ((tree['selectStmt'] ?? {}) as TreeNode)['SelectStmt'] as TreeNode | undefined
  const lists = (select?.['valuesLists'] ?? []) as readonly { readonly List?: TreeNode }[]
  if (select === undefined || lists.length === 0) return undefined
  if (
    ['sortClause', 'limitCount', 'limitOffset', 'withClause'].some(
      (key) => select[key] !== undefined,
    )
  )
    return undefined
  const table = tableOf(execution, (tree['relation'] ?? {}) as TreeNode)
  if (table === undefined || table.kind !== 'table') return undefined
  // PostgreSQL's verdict on names, types and privileges.
  const description = await describeStatement(bound, execution)
  if (catalog.roles.get(settings.session().role ?? settings.user)?.superuser !== true) {
    await environment.postgres.explain(bound, settings.session(), [])
  }
  const targets = targetColumns(table, tree)
  if (targets === undefined || needsPostgres(table, targets)) return undefined
  const stored = storedColumns(table)
  const rows: (readonly ValueSource[])[] = []
  for (const { List: list } of lists) {
    const items = (list?.['items'] ?? []) as readonly TreeNode[]
    const row: ValueSource[] = stored.map(() => ({ kind: 'default' }))
    for (const [i, item] of items.entries()) {
      const column = targets[i]
      if (column === undefined) return undefined
      const source = sourceOf(item, column, description.parameterTypes, execution)
      if (source === undefined) return undefined
      row[stored.indexOf(column)] = source
    }
    rows.push(row)
  }
  const returning = returnedColumns(table, description.fields, tree)
  if (returning === undefined) return undefined
  return {
    table,
    parameterTypes: description.parameterTypes,
    rows,
    fields: description.fields,
    returning,
  }
}

function tableOf(execution: Execution, relation: TreeNode): TableInfo | undefined {
  try {
    return resolveTable(execution, relation)
  } catch {
    // A view, or nothing: PostgreSQL knows what to say.
    return undefined
  }
}

function targetColumns(table: TableInfo, tree: TreeNode): readonly TableColumn[] | undefined {
  const names = ((tree['cols'] ?? []) as readonly { readonly ResTarget?: TreeNode }[]).map(
    (item) => item.ResTarget,
  )
  if (names.length === 0) return table.columns
  const columns: TableColumn[] = []
  for (const target of names) {
    const column = table.columns.find((candidate) => candidate.name === target?.['name'])
    if (column === undefined || target?.['indirection'] !== undefined) return undefined
    // GENERATED ALWAYS AS IDENTITY refuses values unless overridden.
    if (column.identity === 'a') return undefined
    columns.push(column)
  }
  return columns
}

function sourceOf(
  item: TreeNode,
  column: TableColumn,
  parameterTypes: readonly number[],
  execution: Execution,
): ValueSource | undefined {
  if (item['SetToDefault'] !== undefined) return { kind: 'default' }
  const expression = toExpression(item)
  if (expression.kind === 'parameter') {
    const oid = parameterTypes[expression.index - 1]
    const same = oid === column.typeOid
    return same && isPlainType(column) ? { kind: 'parameter', index: expression.index } : undefined
  }
  if (expression.kind !== 'constant') return undefined
  if (expression.text === null) return { kind: 'constant', datum: null }
  const literal = expression.type
  if (literal?.array === true || !isPlainType(column)) return undefined
  if (literal !== undefined && !literalFits(literal.name, column)) return undefined
  const datum = parseText(
    column.typeName,
    column.typmod,
    expression.text,
    execution.settings.types(),
  )
  return datum === undefined ? undefined : { kind: 'constant', datum }
}

/** A quoted literal takes the column's type; one that has a type fits only where nothing would have to be rounded or cast. */
export function literalFits(typeName: string, column: TableColumn): boolean {
  return (
    typeName === column.typeName ||
    ((typeName === 'int4' || typeName === 'int8') &&
      ['int2', 'int4', 'int8', 'float8', 'numeric'].includes(column.typeName)) ||
    (typeName === 'numeric' && ['float8', 'numeric'].includes(column.typeName))
  )
}

/** RETURNING plain columns of the table; undefined for anything else. */
function returnedColumns(
  table: TableInfo,
  fields: readonly FieldDescription[],
  tree: TreeNode,
): readonly TableColumn[] | undefined {
  const clause = tree['returningClause'] as TreeNode | undefined
  if (clause === undefined && fields.length > 0) return undefined
  // old.x and new.x: let PostgreSQL sort it out.
  if (JSON.stringify(clause ?? {}).includes('"old"')) return undefined
  const columns: TableColumn[] = []
  for (const field of fields) {
    const column = table.columns.find((candidate) => candidate.attnum === field.attnum)
    if (field.tableOid !== table.oid || column === undefined || column.generated === 'v')
      return undefined
    columns.push(column)
  }
  return columns
}

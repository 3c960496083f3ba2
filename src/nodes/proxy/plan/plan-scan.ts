/** One scan: its condition split into what segments judge and what PostgreSQL must, and a key look-up if there is one. */
import { type Expression, parseExpression, quoteIdentifier } from '#nodes/proxy/plan/expression.js'
import {
  columnOf,
  compileFilter,
  type FilterBuilder,
  type FilterScope,
} from '#nodes/proxy/plan/filter-compile.js'
import { namesAfter, namesIn } from '#nodes/proxy/plan/plan-texts.js'
import type { KeyLookup, ResidualFilter, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { PlanNode, TableInfo } from '#postgres/contract.js'

export function planScan(
  node: PlanNode,
  table: TableInfo,
  alias: string,
  attnums: readonly number[],
  scope: FilterScope,
): ScanPlan {
  const text = node.Filter
  if (text === undefined) {
    return {
      table,
      attnums,
      filter: undefined,
      filterComplete: true,
      residual: undefined,
      key: undefined,
    }
  }
  const condition = parseExpression(text)
  const conjuncts = condition.kind === 'and' ? condition.arguments : [condition]
  const parts: FilterBuilder[] = []
  let complete = true
  for (const conjunct of conjuncts) {
    const part = compileFilter(conjunct, scope)
    if (part === undefined) complete = false
    else parts.push(part)
  }
  return {
    table,
    attnums,
    filter: conjunction(parts),
    filterComplete: complete,
    residual: complete ? undefined : residualOf(text, table, alias),
    key: keyLookup(conjuncts, scope),
  }
}

function conjunction(parts: readonly FilterBuilder[]): FilterBuilder | undefined {
  const [first] = parts
  if (first === undefined) return undefined
  if (parts.length === 1) return first
  return (values) => ({ op: 'and', args: parts.map((part) => part(values)) })
}

/**
 * The condition as a query over the table alone; undefined when it refers to other parts of the plan, or to columns by names that only
 * the statement gives them.
 */
function residualOf(text: string, table: TableInfo, alias: string): ResidualFilter | undefined {
  if (/\((hashed )?(SubPlan|InitPlan) \d+\)/.test(text)) return undefined
  const stored = table.columns.filter((column) => column.generated !== 'v')
  const { names, wholeRow } = namesIn([text])
  for (const name of namesAfter(alias, text))
    if (!table.columns.some((column) => column.name === name)) return undefined
  const relation = `${quoteIdentifier(table.schemaName)}.${quoteIdentifier(table.name)}`
  const isVirtual = stored.length !== table.columns.length
  // Names in the text: a superset of the columns it reads.
  const read = wholeRow || isVirtual ? stored : stored.filter((column) => names.has(column.name))
  return {
    sql: `SELECT (${text}) IS TRUE FROM ONLY ${relation} AS ${quoteIdentifier(alias)}`,
    attnums: read.map((column) => column.attnum),
  }
}

/** Types whose values are equal exactly when their stored bytes are, so that a key index can look them up. */
const lookupTypes = new Set([
  'int2',
  'int4',
  'int8',
  'text',
  'varchar',
  'uuid',
  'date',
  'timestamp',
  'timestamptz',
  'bytea',
])

function keyLookup(conjuncts: readonly Expression[], scope: FilterScope): KeyLookup | undefined {
  const equalities = new Map<number, { readonly value: Expression; readonly any: boolean }>()
  for (const conjunct of conjuncts) {
    const isAny = conjunct.kind === 'any'
    if (
      (conjunct.kind !== 'operator' && !isAny) ||
      conjunct.name !== '=' ||
      conjunct.left === undefined
    )
      continue
    const column = columnOf(conjunct.left, scope.table, scope.alias)
    const type = scope.typeOf(conjunct.right)
    if (column === undefined || type === undefined || type.array !== isAny) continue
    if (!lookupTypes.has(column.typeName) || !sameFamily(column.typeName, type.name)) continue
    equalities.set(column.attnum, { value: conjunct.right, any: isAny })
  }
  for (const key of scope.table.keys) {
    const found = key.attnums.map((attnum) => equalities.get(attnum))
    if (found.some((equality) => equality === undefined)) continue
    const anyCount = found.filter((equality) => equality?.any === true).length
    if (anyCount > 0 && found.length > 1) continue
    return {
      indexOid: key.indexOid,
      columns: key.attnums.flatMap((attnum) =>
        scope.table.columns.filter((column) => column.attnum === attnum),
      ),
      slots: found.flatMap((equality) =>
        equality === undefined ? [] : [scope.slots.add(equality.value)],
      ),
      array: anyCount > 0,
    }
  }
  return undefined
}

function sameFamily(columnType: string, valueType: string): boolean {
  const integers = ['int2', 'int4', 'int8']
  if (integers.includes(columnType)) return integers.includes(valueType)
  if (columnType === 'varchar' || columnType === 'text')
    return valueType === 'varchar' || valueType === 'text'
  return columnType === valueType
}

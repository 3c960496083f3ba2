/**
 * Compiles a SELECT from what PostgreSQL says of it: the generic plan over empty tables (EXPLAIN) gives every scan with
 * its resolved condition; the parse tree gives LIMIT and the names that are read.
 *
 *  1. no scan of a user table             → catalog: the catalog instance answers
 *  2. [Limit] Sort(distance) Scan…        → search: the k nearest, natively; verbatim over the winners if need be
 *  3. [Limit] [Sort(columns)] Scan        → scan: filter, order and limit natively
 *  4. Aggregate(plain) Scan…              → aggregate, when every aggregate is native
 *  5. anything else                       → verbatim: the statement runs over the rows its scans can reach
 *
 * Any superset of the rows is safe in 5; 2 to 4 are taken only when the whole condition is judged before the cut.
 */
import type { AggregateSpec, SortKey } from '#engine/index/native.js'
import { columnsRead, type NamesUsed, namesUsed } from '#nodes/proxy/plan/columns-used.js'
import { asDistance, asMonotoneDistance } from '#nodes/proxy/plan/distance.js'
import { type Expression, parseExpression, toExpression } from '#nodes/proxy/plan/expression.js'
import { columnOf, type FilterScope } from '#nodes/proxy/plan/filter-compile.js'
import { planScan } from '#nodes/proxy/plan/plan-scan.js'
import type {
  AggregatePlan,
  FilteredScanPlan,
  LimitPlan,
  OutputColumn,
  QueryPlan,
  ScanPlan,
  SearchPlan,
} from '#nodes/proxy/plan/query-plan.js'
import { SlotCollector } from '#nodes/proxy/plan/slots.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { CatalogSnapshot, Description, PlanNode, TableInfo } from '#postgres/contract.js'
import { visit } from '#postgres/tree-walk.js'

export interface PlanInput {
  readonly parsed: ParsedStatement
  readonly explained: PlanNode
  readonly description: Description
  readonly catalog: CatalogSnapshot
}

interface PlanScope {
  readonly input: PlanInput
  readonly slots: SlotCollector
  readonly used: NamesUsed
}

export function planQuery(input: PlanInput): {
  readonly plan: QueryPlan
  readonly slots: SlotCollector
} {
  const slots = new SlotCollector()
  const scope: PlanScope = {
    input,
    slots,
    used: namesUsed(input),
  }
  const scanNodes = collectScans(input.explained)
  const tables = scanNodes.map((node) => tableOf(node, input.catalog))
  if (tables.every((table) => table === undefined)) return { plan: { kind: 'catalog' }, slots }
  const plan = planNatively(scope)
  if (plan !== undefined && seesAllItReads(plan, tables)) return { plan, slots }
  slots.truncate(0)
  return { plan: planVerbatim(scope, scanNodes), slots }
}

function planNatively(scope: PlanScope): SearchPlan | FilteredScanPlan | AggregatePlan | undefined {
  return planSearch(scope) ?? planFilteredScan(scope) ?? planAggregate(scope)
}

/**
 * A sub-select that reads the same table again (correlated with it) would see only the rows that the plan finds. Other tables that
 * sub-selects read are loaded whole when they are touched.
 */
function seesAllItReads(
  plan: SearchPlan | FilteredScanPlan | AggregatePlan,
  scanned: readonly (TableInfo | undefined)[],
): boolean {
  const planned = (plan.kind === 'scan' ? [plan.scan] : plan.scans).map(({ table }) => table.oid)
  const again = scanned.filter((table) => table !== undefined && planned.includes(table.oid))
  return again.length === planned.length
}

/** Types of expressions as far as they are plain to see; undefined: only PostgreSQL knows. */
export function typeOfExpressions(input: PlanInput): FilterScope['typeOf'] {
  const of: FilterScope['typeOf'] = (expression) => {
    switch (expression.kind) {
      case 'constant':
        return expression.type && { name: expression.type.name, array: expression.type.array }
      case 'parameter': {
        const oid = input.description.parameterTypes[expression.index - 1]
        const name = oid === undefined ? undefined : input.catalog.typeNames.get(oid)
        if (name === undefined) return undefined
        return name.startsWith('_') ? { name: name.slice(1), array: true } : { name, array: false }
      }
      case 'cast':
        return { name: expression.type.name, array: expression.type.array }
      case 'currentTimestamp':
        return { name: 'timestamptz', array: false }
      case 'call':
        return ['now', 'transaction_timestamp', 'statement_timestamp'].includes(expression.name)
          ? { name: 'timestamptz', array: false }
          : undefined
      case 'operator': {
        // timestamptz ± interval, the one arithmetic that filters are full of.
        const left = expression.left === undefined ? undefined : of(expression.left)
        const right = of(expression.right)
        const temporal = left?.name === 'timestamptz' || left?.name === 'timestamp'
        const plusMinus = expression.name === '+' || expression.name === '-'
        return temporal && plusMinus && right?.name === 'interval' ? left : undefined
      }
      case 'column':
      case 'any':
      case 'and':
      case 'or':
      case 'not':
      case 'nullTest':
      case 'other':
        return undefined
      default:
        return expression satisfies never
    }
  }
  return of
}

/** Every node of the plan that reads a relation. */
export function collectScans(plan: PlanNode): readonly PlanNode[] {
  const found: PlanNode[] = []
  const walk = (node: PlanNode): void => {
    if (node['Relation Name'] !== undefined && node['Node Type'] !== 'ModifyTable') found.push(node)
    for (const child of node.Plans ?? []) walk(child)
  }
  walk(plan)
  return found
}

export function tableOf(node: PlanNode, catalog: CatalogSnapshot): TableInfo | undefined {
  return catalog.tablesByName.get(`${node.Schema ?? 'public'}.${node['Relation Name'] ?? ''}`)
}

function scanPlanOf(node: PlanNode, scope: PlanScope): ScanPlan | undefined {
  const table = tableOf(node, scope.input.catalog)
  if (table === undefined) return undefined
  const alias = node.Alias ?? table.name
  const attnums = columnsRead(table, scope.used)
  return planScan(node, table, alias, attnums, {
    table,
    alias,
    slots: scope.slots,
    typeOf: typeOfExpressions(scope.input),
  })
}

/** Scans below a node that is a scan itself or an Append of scans; undefined when something else is there. */
function leafScans(node: PlanNode | undefined, scope: PlanScope): readonly ScanPlan[] | undefined {
  if (node === undefined) return undefined
  if (node['Node Type'] === 'Seq Scan') {
    const scan = scanPlanOf(node, scope)
    return scan === undefined ? undefined : [scan]
  }
  if (node['Node Type'] !== 'Append') return undefined
  const scans: ScanPlan[] = []
  for (const child of node.Plans ?? []) {
    const inner = leafScans(child, scope)
    if (inner === undefined) return undefined
    scans.push(...inner)
  }
  return scans.length === 0 ? undefined : scans
}

function onlyChild(node: PlanNode): PlanNode | undefined {
  return node.Plans?.length === 1 ? node.Plans[0] : undefined
}

/** True when nothing decides about rows but PostgreSQL-free filters or one that PostgreSQL can judge row by row. */
function decidable(scan: ScanPlan): boolean {
  return scan.filterComplete || scan.residual !== undefined
}

function planSearch(scope: PlanScope): SearchPlan | undefined {
  const root = scope.input.explained
  const limit = limitOf(scope)
  if (limit?.limit === undefined) return undefined
  return searchUnder(root, limit, scope)
}

/** Limit over Sort by distance over scans; undefined when the node is anything else. */
function searchUnder(root: PlanNode, limit: LimitPlan, scope: PlanScope): SearchPlan | undefined {
  const sort = root['Node Type'] === 'Limit' ? onlyChild(root) : undefined
  if (sort?.['Node Type'] !== 'Sort') return undefined
  const before = scope.slots.length
  const giveUp = (): undefined => {
    scope.slots.truncate(before)
    return undefined
  }
  const below = onlyChild(sort)
  const scans = leafScans(below, scope)
  const first = scans?.[0]
  const keys = (sort['Sort Key'] ?? []).map(sortKeyOf)
  const key = keys[0]
  if (scans === undefined || first === undefined || key === undefined || !scans.every(decidable))
    return giveUp()
  const monotone = asMonotoneDistance(key.expression)
  if (monotone === undefined) return giveUp()
  // Nearest first with NULLs last: rising distance ascending, or falling expression descending NULLS LAST; a plain
  // DESC would put NULLs first, which the executor handles by looking for rows without a vector.
  if (monotone.rising === key.descending) return giveUp()
  const { qualifier } = monotone.distance.column
  const alias = collectScans(sort)[0]?.Alias
  // Partitions are known as parent_1, parent_2 …
  if (qualifier !== undefined && qualifier !== alias && alias?.startsWith(`${qualifier}_`) !== true)
    return giveUp()
  const column = columnOf(monotone.distance.column, first.table, undefined)
  if (column?.kind !== 'vector') return giveUp()
  const querySlot = scope.slots.add(monotone.distance.query)
  const isWhole = root === scope.input.explained
  const output =
    isWhole && keys.length === 1 && monotone.exact && scans.length === 1 && !key.descending
      ? outputOf(root, first.table, scope, monotone.distance)
      : undefined
  return {
    kind: 'search',
    scans,
    attnum: column.attnum,
    metric: monotone.distance.metric,
    querySlot,
    limit,
    ties: keys.length > 1 || !monotone.exact,
    output,
    nullsFirst: key.nullsFirst,
    nansFirst: key.descending,
    hasIndex: first.table.vectorIndexes.some(
      (index) => index.attnum === column.attnum && index.metric === monotone.distance.metric,
    ),
  }
}

function planFilteredScan(scope: PlanScope): FilteredScanPlan | undefined {
  const root = scope.input.explained
  const hasLimit = root['Node Type'] === 'Limit'
  const before = scope.slots.length
  const giveUp = (): undefined => {
    scope.slots.truncate(before)
    return undefined
  }
  const limit = hasLimit ? limitOf(scope) : { limit: undefined, offset: undefined }
  if (limit === undefined) return giveUp()
  let node: PlanNode | undefined = hasLimit ? onlyChild(root) : root
  let orderBy: readonly SortKey[] = []
  let sorted = false
  if (node?.['Node Type'] === 'Sort') {
    sorted = true
    node = onlyChild(node)
  }
  if (node?.['Node Type'] !== 'Seq Scan') return giveUp()
  const scan = scanPlanOf(node, scope)
  if (scan === undefined || !decidable(scan)) return giveUp()
  if (sorted) {
    const sortNode = hasLimit ? onlyChild(root) : root
    const keys = sortKeys(sortNode?.['Sort Key'] ?? [], scan.table)
    // Without a limit PostgreSQL may as well sort; native order pays when few of many rows are wanted.
    if (keys === undefined) return giveUp()
    orderBy = keys
  }
  return {
    kind: 'scan',
    scan,
    orderBy,
    limit,
    output: outputOf(root, scan.table, scope, undefined),
  }
}

function planAggregate(scope: PlanScope): AggregatePlan | undefined {
  const root = scope.input.explained
  if (root['Node Type'] !== 'Aggregate' || root['Strategy'] !== 'Plain') return undefined
  if (root.Filter !== undefined || root['Partial Mode'] !== 'Simple') return undefined
  // A row for each of them.
  if (root['Grouping Sets'] !== undefined) return undefined
  const before = scope.slots.length
  const scans = leafScans(onlyChild(root), scope)
  const first = scans?.[0]
  const aggregates =
    first && scans.every(decidable) ? aggregatesOf(root.Output ?? [], first.table) : undefined
  if (scans === undefined || aggregates === undefined) {
    scope.slots.truncate(before)
    return undefined
  }
  return { kind: 'aggregate', scans, aggregates }
}

function planVerbatim(scope: PlanScope, nodes: readonly PlanNode[]): QueryPlan {
  const limits = allLimits(scope)
  const searches: SearchPlan[] = []
  const covered = new Set<PlanNode>()
  if (limits?.every((limit) => limit.limit !== undefined)) {
    const walk = (node: PlanNode): void => {
      const found = searchUnder(node, { limit: undefined, offset: undefined }, scope)
      if (found === undefined) {
        for (const child of node.Plans ?? []) walk(child)
        return
      }
      searches.push(found)
      for (const scan of collectScans(node)) covered.add(scan)
    }
    walk(scope.input.explained)
  }
  const scans: ScanPlan[] = []
  for (const node of nodes) {
    if (covered.has(node)) continue
    const scan = scanPlanOf(node, scope)
    if (scan !== undefined) scans.push(scan)
  }
  // A table that is also scanned outside of the searches is needed whole.
  const outside = new Set(scans.map((scan) => scan.table.oid))
  const [kept, dropped] = [true, false].map((wanted) =>
    searches.filter(
      (search) => search.scans.every((scan) => !outside.has(scan.table.oid)) === wanted,
    ),
  )
  return {
    kind: 'verbatim',
    scans: [...scans, ...(dropped ?? []).flatMap((search) => search.scans)],
    searches: kept ?? [],
    limits: limits ?? [],
  }
}

interface ParsedSortKey {
  readonly expression: Expression
  readonly descending: boolean
  readonly nullsFirst: boolean
}

/** 'expr [COLLATE …] [DESC | USING op] [NULLS FIRST | LAST]' as EXPLAIN prints it. */
function sortKeyOf(text: string): ParsedSortKey {
  let rest = text
  let descending = false
  let nulls: boolean | undefined
  const nullsMatch = / NULLS (FIRST|LAST)$/.exec(rest)
  if (nullsMatch !== null) {
    nulls = nullsMatch[1] === 'FIRST'
    rest = rest.slice(0, nullsMatch.index)
  }
  if (rest.endsWith(' DESC')) {
    descending = true
    rest = rest.slice(0, -5)
  }
  const usable = !/ (USING \S+|COLLATE \S+)$/.test(rest)
  return {
    expression: usable ? parseExpression(rest) : { kind: 'other' },
    descending,
    nullsFirst: nulls ?? descending,
  }
}

const nativeOrder: Readonly<Record<string, SortKey['as']>> = {
  bool: 'native',
  int2: 'native',
  int4: 'native',
  int8: 'native',
  oid: 'native',
  float4: 'native',
  float8: 'native',
  date: 'native',
  time: 'native',
  timestamp: 'native',
  timestamptz: 'native',
  text: 'bytes',
  varchar: 'bytes',
  uuid: 'bytes',
  bytea: 'bytes',
  numeric: 'numeric',
}

function sortKeys(texts: readonly string[], table: TableInfo): readonly SortKey[] | undefined {
  const keys: SortKey[] = []
  for (const text of texts) {
    const key = sortKeyOf(text)
    const column = columnOf(key.expression, table, undefined)
    const as = column === undefined ? undefined : nativeOrder[column.typeName]
    if (column === undefined || as === undefined) return undefined
    keys.push({ attnum: column.attnum, descending: key.descending, nullsFirst: key.nullsFirst, as })
  }
  return keys
}

/** The select list, when it is nothing but columns of the table and the distance itself. */
function outputOf(
  root: PlanNode,
  table: TableInfo,
  scope: PlanScope,
  distance: ReturnType<typeof asDistance>,
): readonly OutputColumn[] | undefined {
  const texts = root.Output ?? []
  // Sort keys that are not in the select list are printed after it.
  const fields = scope.input.description.fields
  if (texts.length < fields.length) return undefined
  const output: OutputColumn[] = []
  for (const [i, field] of fields.entries()) {
    const expression = parseExpression(texts[i] ?? '')
    if (expression.kind === 'column') {
      const column = table.columns.find((candidate) => candidate.name === expression.name)
      if (column === undefined || column.typeOid !== field.typeOid || column.generated === 'v')
        return undefined
      output.push({ kind: 'column', column })
      continue
    }
    const same = asDistance(expression)
    if (distance === undefined || same === undefined) return undefined
    if (same.metric !== distance.metric || same.column.name !== distance.column.name)
      return undefined
    if (scope.slots.add(same.query) !== scope.slots.add(distance.query)) return undefined
    output.push({ kind: 'distance' })
  }
  return output
}

const integerTypes = new Set(['int2', 'int4', 'int8'])

function aggregatesOf(
  texts: readonly string[],
  table: TableInfo,
): readonly AggregateSpec[] | undefined {
  const specs: AggregateSpec[] = []
  for (const text of texts) {
    const expression = parseExpression(text)
    if (expression.kind !== 'call') return undefined
    const [argument] = expression.arguments
    if (expression.name === 'count' && expression.star) {
      specs.push({ kind: 'countStar', attnum: 0, as: 'native' })
      continue
    }
    const column = argument === undefined ? undefined : columnOf(argument, table, undefined)
    if (column === undefined || expression.arguments.length !== 1) return undefined
    const as = nativeOrder[column.typeName]
    if (expression.name === 'count') {
      specs.push({ kind: 'count', attnum: column.attnum, as: 'native' })
    } else if (
      expression.name === 'sum' &&
      (integerTypes.has(column.typeName) || column.typeName === 'float8')
    ) {
      specs.push({ kind: 'sum', attnum: column.attnum, as: 'native' })
    } else if ((expression.name === 'min' || expression.name === 'max') && as !== undefined) {
      // bool and uuid have no min and max in PostgreSQL; it would have refused before.
      specs.push({ kind: expression.name, attnum: column.attnum, as })
    } else {
      return undefined
    }
  }
  return specs
}

/** The one LIMIT of the statement, if its count and offset are constants or parameters. */
function limitOf(scope: PlanScope): LimitPlan | undefined {
  const limits = allLimits(scope)
  return limits?.length === 1 ? limits[0] : undefined
}

/** Every LIMIT and OFFSET of the statement; undefined when one is not a constant or a parameter. */
function allLimits(scope: PlanScope): readonly LimitPlan[] | undefined {
  const limits: LimitPlan[] = []
  let known = true
  visit({ [scope.input.parsed.nodeTag]: scope.input.parsed.tree }, (tag, node) => {
    const isSelect = tag === 'SelectStmt' || tag === 'larg' || tag === 'rarg'
    if (!isSelect || (node['limitCount'] === undefined && node['limitOffset'] === undefined)) return
    const count = bound(node['limitCount'], scope)
    const offset = bound(node['limitOffset'], scope)
    if (
      count === 'unknown' ||
      offset === 'unknown' ||
      node['limitOption'] === 'LIMIT_OPTION_WITH_TIES'
    )
      known = false
    else limits.push({ limit: count, offset })
  })
  return known ? limits : undefined
}

function bound(node: unknown, scope: PlanScope): number | undefined | 'unknown' {
  if (node === undefined) return undefined
  const expression = toExpression(node)
  if (expression.kind === 'constant') {
    // LIMIT ALL and LIMIT NULL
    if (expression.text === null) return undefined
    return scope.slots.add({
      kind: 'constant',
      text: expression.text,
      type: { name: 'int8', array: false, modified: false },
    })
  }
  if (
    expression.kind === 'parameter' ||
    (expression.kind === 'cast' && expression.argument.kind === 'parameter')
  ) {
    return scope.slots.add({
      kind: 'cast',
      argument: expression,
      type: { name: 'int8', array: false, modified: false },
    })
  }
  return 'unknown'
}

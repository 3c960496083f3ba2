/**
 * ★ Answers a SELECT: plan (cached), bind the slots, choose the read timestamp, ask every shard, reduce, write rows.
 */
import { DatabaseError, unreachable } from '#base/errors.js'
import { countScans } from '#nodes/proxy/live/count-scans.js'
import { preparePlan } from '#nodes/proxy/plan/prepare-plan.js'
import type { HoistedPlan, PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import { resolveSlots } from '#nodes/proxy/plan/resolve-slots.js'
import { aggregate } from '#nodes/proxy/statements/aggregate.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { filteredScan } from '#nodes/proxy/statements/filtered-scan.js'
import { modify } from '#nodes/proxy/statements/modify.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { rowsResult, wireFields } from '#nodes/proxy/statements/rows-result.js'
import { search } from '#nodes/proxy/statements/search.js'
import { takeNotices } from '#nodes/proxy/statements/side-effects.js'
import { verbatimWithSearches } from '#nodes/proxy/statements/verbatim-searches.js'
import { withSequences } from '#nodes/proxy/statements/with-sequences.js'
import { parseStatements } from '#postgres/classify.js'
import type { PlanNode } from '#postgres/contract.js'

export async function select(execution: Execution): Promise<Result> {
  const prepared = await preparePlan(execution)
  const { plan } = prepared
  const resolved = resolveSlots(prepared.slots, prepared.description.parameterTypes, execution)
  const values = resolved instanceof Promise ? await resolved : resolved
  countScans(plan, execution)
  switch (plan.kind) {
    case 'search':
      return search(plan, values, prepared, execution)
    case 'scan':
      return filteredScan(plan, values, prepared, execution)
    case 'aggregate':
      return aggregate(plan, values, prepared, execution)
    case 'verbatim':
      return plan.mayChange === true
        ? modify(execution, prepared)
        : verbatimWithSearches(plan, values, prepared, execution)
    case 'catalog':
      return fromCatalog(prepared, execution)
    case 'hoisted':
      return hoisted(plan, prepared, execution)
    default:
      return unreachable(plan)
  }
}

async function fromCatalog(prepared: PreparedPlan, execution: Execution): Promise<Result> {
  const { environment, bound, context } = execution
  const live = environment.live.readBy(prepared.explained, bound.sql)
  const loads = live.length === 0 ? [] : await environment.live.loads(live, environment)
  const elsewhere = loads.length > 0 || mayTakeLong(prepared.explained, bound.sql)
  const result = await withSequences(execution, async (sequences) => {
    const afterLoads = environment.live.afterLoads(live, prepared.explained, bound.sql)
    const evaluation = { ...evaluationOf(execution, bound, loads), sequences, afterLoads }
    return elsewhere
      ? environment.postgres.evaluate(evaluation, context)
      : environment.postgres.catalogQuery(evaluation, context)
  })
  takeNotices(execution, result)
  return rowsResult(prepared, execution, [{ data: result.dataRows, count: result.rowCount }])
}

const computing: ReadonlySet<string> = new Set([
  'Function Scan',
  'ProjectSet',
  'Recursive Union',
  'Nested Loop',
  'Hash Join',
])

/** Computes rather than looks up: kept out of the one catalog instance, which every statement of every session needs. */
function mayTakeLong(explained: PlanNode, sql: string): boolean {
  let relations = false
  let computes = sql.includes('pg_sleep')
  const look = (node: PlanNode): void => {
    if (node['Relation Name'] !== undefined) relations = true
    if (computing.has(node['Node Type'])) computes = true
    for (const child of node.Plans ?? []) look(child)
  }
  look(explained)
  return computes && !relations
}

/** Runs the sub-selects, then the statement with their values as further parameters. */
async function hoisted(
  plan: HoistedPlan,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const { bound } = execution
  const given = plan.parameterTypes.length - plan.subqueries.length
  const parameters = [...bound.parameters]
  const formats = bound.parameters.map((_, i) =>
    bound.parameterFormats.length <= 1
      ? (bound.parameterFormats[0] ?? 0)
      : (bound.parameterFormats[i] ?? 0),
  )
  for (const subquery of plan.subqueries) {
    const [parsed] = parseStatements(subquery.sql)
    if (parsed === undefined) throw new DatabaseError('42601', 'syntax error in sub-select')
    const inner = await select({
      ...execution,
      parsed,
      bound: {
        sql: subquery.sql,
        parameterTypes: plan.parameterTypes.slice(0, given),
        parameters: bound.parameters,
        parameterFormats: bound.parameterFormats,
        resultFormats: [1],
      },
    })
    parameters.push(await onlyValue(inner))
    formats.push(1)
  }
  const [parsed] = parseStatements(plan.sql)
  if (parsed === undefined) throw new DatabaseError('42601', 'syntax error in rewritten statement')
  const result = await select({
    ...execution,
    parsed,
    bound: {
      sql: plan.sql,
      parameterTypes: plan.parameterTypes,
      parameters,
      parameterFormats: formats,
      resultFormats: bound.resultFormats,
    },
  })
  // A column that was a sub-select is named after it.
  return { ...result, fields: wireFields(prepared, bound.resultFormats) }
}

/** @throws 21000 when there is more than one row */
async function onlyValue(result: Result): Promise<Uint8Array | null> {
  const values: (Uint8Array | null)[] = []
  for await (const chunk of result.rows) {
    for (const [value] of dataRows({ dataRows: chunk.data })) values.push(value ?? null)
  }
  if (values.length > 1) {
    throw new DatabaseError(
      '21000',
      'more than one row returned by a subquery used as an expression',
    )
  }
  return values[0] ?? null
}

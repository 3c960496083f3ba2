/**
 * The plan that trusts nobody but PostgreSQL: every column of every row of the tables that the statement scans, and the
 * statement verbatim over them. What the native plans are compared with (SET elanus.native_plans = off).
 */
import { collectScans, type PlanInput, tableOf } from '#nodes/proxy/plan/plan-query.js'
import { calledFunctions } from '#nodes/proxy/plan/plan-texts.js'
import type { QueryPlan, ScanPlan, VerbatimPlan } from '#nodes/proxy/plan/query-plan.js'
import type { TableInfo } from '#postgres/contract.js'

export function planWholeTables(input: Pick<PlanInput, 'explained' | 'catalog'>): QueryPlan {
  const scans = wholeScans(input)
  return scans.length === 0
    ? { kind: 'catalog' }
    : { kind: 'verbatim', scans, searches: [], limits: [] }
}

/**
 * Statements that call functions of users: what those look at is not known, so nothing may be left out of a table.
 * @returns undefined when none is called
 */
export function planFunctionCalls(
  input: Pick<PlanInput, 'explained' | 'catalog'>,
): VerbatimPlan | undefined {
  const called = calledFunctions(input.explained, input.catalog)
  if (called === 'none') return undefined
  return {
    kind: 'verbatim',
    scans: wholeScans(input),
    ...{ searches: [], limits: [], mayChange: called === 'volatile' },
  }
}

function wholeScans({
  explained,
  catalog,
}: Pick<PlanInput, 'explained' | 'catalog'>): readonly ScanPlan[] {
  const tables = new Set<TableInfo>()
  for (const node of collectScans(explained)) {
    const table = tableOf(node, catalog)
    if (table !== undefined) tables.add(table)
  }
  return [...tables].map(wholeScan)
}

function wholeScan(table: TableInfo): ScanPlan {
  return {
    table,
    attnums: table.columns
      .filter((column) => column.generated !== 'v')
      .map((column) => column.attnum),
    filter: undefined,
    filterComplete: true,
    residual: undefined,
    key: undefined,
  }
}

/**
 * The plan that trusts nobody but PostgreSQL: every column of every row of the tables that the statement scans, and the
 * statement verbatim over them. What the native plans are compared with (SET elanus.native_plans = off).
 */
import { collectScans, type PlanInput, tableOf } from '#nodes/proxy/plan/plan-query.js'
import type { QueryPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { TableInfo } from '#postgres/contract.js'

export function planWholeTables(
  input: Pick<PlanInput, 'explained' | 'catalog'>,
): Extract<QueryPlan, { kind: 'verbatim' | 'catalog' }> {
  const tables = new Set<TableInfo>()
  for (const node of collectScans(input.explained)) {
    const table = tableOf(node, input.catalog)
    if (table !== undefined) tables.add(table)
  }
  return tables.size === 0
    ? { kind: 'catalog' }
    : { kind: 'verbatim', scans: [...tables].map(wholeScan), searches: [], limits: [] }
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

/** pg_stat_user_tables.seq_scan and idx_scan: which way a plan goes to its tables. */
import type { QueryPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'

export function countScans(plan: QueryPlan, execution: Execution): void {
  switch (plan.kind) {
    case 'search':
      countSearch(plan, execution)
      return
    case 'scan':
      countScan(plan.scan, execution)
      return
    case 'aggregate':
      for (const scan of plan.scans) countScan(scan, execution)
      return
    case 'verbatim':
      for (const scan of plan.scans) countScan(scan, execution)
      for (const search of plan.searches) countSearch(search, execution)
      return
    case 'catalog':
    case 'hoisted':
      return
  }
}

function countSearch(
  { scans, attnum }: { readonly scans: readonly ScanPlan[]; readonly attnum: number },
  execution: Execution,
): void {
  for (const { table } of scans) {
    const index = table.vectorIndexes.find((candidate) => candidate.attnum === attnum)
    count(table.oid, index?.indexOid, execution)
  }
}

function countScan({ table, key }: ScanPlan, execution: Execution): void {
  count(table.oid, key?.indexOid, execution)
}

function count(
  tableOid: number,
  indexOid: number | undefined,
  { environment: { tableCounters, runtime } }: Execution,
): void {
  const table = tableCounters.of(tableOid)
  const nowMs = runtime.nowMs()
  if (indexOid === undefined) {
    table.sequentialScans += 1
    table.lastSequentialScanMs = nowMs
    return
  }
  const index = tableCounters.of(indexOid)
  for (const counts of [table, index]) {
    counts.indexScans += 1
    counts.lastIndexScanMs = nowMs
  }
}

/** The statement as it is, evaluated by PostgreSQL over the rows that its scans can reach. */

import { notSupported } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { PreparedPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import {
  chooseReadTimestamp,
  type Execution,
  renewSnapshot,
} from '#nodes/proxy/statements/execution.js'
import { holdRows } from '#nodes/proxy/statements/hold-rows.js'
import {
  type LoadedRows,
  loadRows,
  loadTables,
  storedColumns,
  toTableLoad,
} from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { rowsResult } from '#nodes/proxy/statements/rows-result.js'
import { takeNotices } from '#nodes/proxy/statements/side-effects.js'
import { withSequences } from '#nodes/proxy/statements/with-sequences.js'
import type { TreeNode } from '#postgres/classify.js'
import type { EvaluationResult } from '#postgres/contract.js'

export async function verbatim(
  scans: readonly ScanPlan[],
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const policy = lockPolicy(execution)
  for (;;) {
    const readAt = await chooseReadTimestamp(execution)
    const rows = await loadTables(execution, scans, values, readAt)
    if (policy === undefined || (await holdAll(execution, rows, readAt, policy))) {
      return overRows(rows, prepared, execution)
    }
    renewSnapshot(execution)
  }
}

/**
 * FOR UPDATE and its weaker forms, which are all taken as FOR UPDATE. The rows held are those that the scans' native
 * conditions let through: a superset when PostgreSQL judges the rest. @throws 0A000 for SKIP LOCKED
 */
function lockPolicy({ parsed }: Execution): 'wait' | 'refuse' | undefined {
  const clauses = (parsed.tree['lockingClause'] ?? []) as readonly {
    readonly LockingClause?: TreeNode
  }[]
  if (clauses.length === 0) return undefined
  const policies = clauses.map((clause) => String(clause.LockingClause?.['waitPolicy']))
  if (policies.includes('LockWaitSkip')) {
    throw notSupported(
      'SKIP LOCKED is not supported yet',
      'Use FOR UPDATE, or NOWAIT and another row.',
    )
  }
  return policies.includes('LockWaitError') ? 'refuse' : 'wait'
}

async function holdAll(
  execution: Execution,
  rows: readonly LoadedRows[],
  readAt: Timestamp,
  policy: 'wait' | 'refuse',
): Promise<boolean> {
  for (const { table, rowIds } of rows) {
    if (rowIds.length > 0 && !(await holdRows(execution, table, rowIds, readAt, policy)))
      return false
  }
  return true
}

/** Evaluates the statement over these rows, and over whole tables that turn out to be read unseen (in functions). */
export async function overRows(
  rows: readonly LoadedRows[],
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const result = await withSequences(execution, async (sequences) =>
    evaluateWithLoads(execution, rows, (loads) =>
      execution.environment.postgres.evaluate(
        { ...evaluationOf(execution, execution.bound, loads), sequences },
        execution.context,
      ),
    ),
  )
  takeNotices(execution, result)
  return rowsResult(prepared, execution, [{ data: result.dataRows, count: result.rowCount }])
}

/** Runs again with more tables loaded until nothing was touched that had not been loaded. */
export async function evaluateWithLoads(
  execution: Execution,
  rows: readonly LoadedRows[],
  run: (loads: readonly ReturnType<typeof toTableLoad>[]) => Promise<EvaluationResult>,
): Promise<EvaluationResult> {
  const loaded = [...rows]
  for (;;) {
    const result = await run(loaded.map(toTableLoad))
    const more = result.touchedUnloaded.filter((oid) =>
      loaded.every((entry) => entry.table.oid !== oid),
    )
    let added = 0
    for (const oid of more) {
      const whole = await loadWhole(execution, oid, await chooseReadTimestamp(execution))
      if (whole === undefined) continue
      loaded.push(whole)
      if (whole.rowCount > 0) added += 1
    }
    if (added === 0) return result
  }
}

export async function loadWhole(
  execution: Execution,
  tableOid: number,
  readAt: Timestamp,
): Promise<LoadedRows | undefined> {
  const table = execution.catalog.tables.get(tableOid)
  if (table === undefined || table.kind !== 'table') return undefined
  const attnums = storedColumns(table).map((column) => column.attnum)
  return loadRows(execution, table, attnums, readAt, {})
}

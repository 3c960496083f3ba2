/** The statement as it is, evaluated by PostgreSQL over the rows that its scans can reach. */

import type { Timestamp } from '#base/timestamp.js'
import type { PreparedPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
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
import type { EvaluationResult } from '#postgres/contract.js'

export async function verbatim(
  scans: readonly ScanPlan[],
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const readAt = chooseReadTimestamp(execution)
  return overRows(await loadTables(execution, scans, values, readAt), prepared, execution)
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
      const whole = await loadWhole(execution, oid, chooseReadTimestamp(execution))
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

/** The statement as it is, evaluated by PostgreSQL over the rows that its scans can reach. */

import type { Timestamp } from '#base/timestamp.js'
import type { LockMode } from '#nodes/locks/contract.js'
import type { PreparedPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import {
  chooseReadTimestamp,
  chooseWriteTimestamp,
  type Execution,
  renewSnapshot,
} from '#nodes/proxy/statements/execution.js'
import { holdRows, type LockPolicy } from '#nodes/proxy/statements/hold-rows.js'
import {
  type LoadedRows,
  loadRows,
  loadTables,
  storedColumns,
  toTableLoad,
  withoutRows,
} from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { rowsResult } from '#nodes/proxy/statements/rows-result.js'
import { takeNotices } from '#nodes/proxy/statements/side-effects.js'
import { withSequences } from '#nodes/proxy/statements/with-sequences.js'
import type { TreeNode } from '#postgres/classify.js'
import type { Evaluation, EvaluationResult } from '#postgres/contract.js'

export async function verbatim(
  scans: readonly ScanPlan[],
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  if (execution.parsed.tree['lockingClause'] !== undefined)
    return lockingSelect(scans, values, prepared, execution)
  const readAt = await chooseReadTimestamp(execution)
  return overRows(await loadTables(execution, scans, values, readAt), prepared, execution)
}

/** Evaluates the statement over these rows, and over whole tables that turn out to be read unseen (in functions). */
export async function overRows(
  rows: readonly LoadedRows[],
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const { result } = await evaluateOver(rows, execution, {})
  takeNotices(execution, result)
  return rowsResult(prepared, execution, [{ data: result.dataRows, count: result.rowCount }])
}

async function evaluateOver(
  rows: readonly LoadedRows[],
  execution: Execution,
  options: Partial<Evaluation>,
): Promise<EvaluatedOver> {
  let evaluatedRows = rows
  const result = await withSequences(execution, async (sequences) => {
    const evaluated = await evaluateWithLoads(execution, rows, (loads) =>
      execution.environment.postgres.evaluate(
        { ...evaluationOf(execution, execution.bound, loads), sequences, ...options },
        execution.context,
      ),
    )
    evaluatedRows = evaluated.rows
    return evaluated.result
  })
  return { result, rows: evaluatedRows }
}

/**
 * FOR UPDATE and its weaker forms: PostgreSQL says which rows the statement locks; those are held, and if all of them are
 * still what was read, its answer stands. Otherwise it looks again. The strengths are two: shared and exclusive.
 */
async function lockingSelect(
  scans: readonly ScanPlan[],
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const { policy, mode } = lockingOf(execution)
  for (;;) {
    const readAt = await chooseWriteTimestamp(execution)
    const found = await loadTables(execution, scans, values, readAt)
    const free = policy === 'skip' ? await withoutTaken(execution, found, mode) : found
    const { result, rows } = await evaluateOver(free, execution, {
      captureTables: free.map(({ table }) => table.oid),
      reportLocks: true,
    })
    if (await holdLocked(execution, rows, result, readAt, policy, mode)) {
      takeNotices(execution, result)
      return rowsResult(prepared, execution, [{ data: result.dataRows, count: result.rowCount }])
    }
    renewSnapshot(execution)
  }
}

/** SKIP LOCKED. */
async function withoutTaken(
  { memory }: Execution,
  found: readonly LoadedRows[],
  mode: LockMode,
): Promise<readonly LoadedRows[]> {
  return await Promise.all(
    found.map(async (loaded) => {
      const taken = await memory.locks.taken(loaded.table.oid, loaded.rowIds, mode)
      return taken.size === 0 ? loaded : withoutRows(loaded, (rowId) => taken.has(rowId))
    }),
  )
}

async function holdLocked(
  execution: Execution,
  rows: readonly LoadedRows[],
  { locked = [] }: EvaluationResult,
  readAt: Timestamp,
  policy: LockPolicy,
  mode: LockMode,
): Promise<boolean> {
  for (const { tableOid, positions } of locked) {
    const loaded = rows.find(({ table }) => table.oid === tableOid)
    if (loaded === undefined) continue
    // The transaction's own rows come last and have no ids: nobody else sees them.
    const rowIds = Float64Array.from([...positions].flatMap((at) => loaded.rowIds[at] ?? [])).sort()
    if (rowIds.length === 0) continue
    if (!(await holdRows(execution, loaded.table, rowIds, readAt, policy, mode))) return false
  }
  return true
}

function lockingOf({ parsed }: Execution): {
  readonly policy: LockPolicy
  readonly mode: LockMode
} {
  const clauses = (parsed.tree['lockingClause'] ?? []) as readonly {
    readonly LockingClause?: TreeNode
  }[]
  const policies = clauses.map((clause) => String(clause.LockingClause?.['waitPolicy']))
  const strengths = clauses.map((clause) => String(clause.LockingClause?.['strength']))
  return {
    policy: policies.includes('LockWaitSkip')
      ? 'skip'
      : policies.includes('LockWaitError')
        ? 'refuse'
        : 'wait',
    mode: strengths.every((strength) => /SHARE$/.test(strength)) ? 'shared' : 'exclusive',
  }
}

export interface EvaluatedOver {
  readonly result: EvaluationResult
  /** All that were loaded in the end. */
  readonly rows: readonly LoadedRows[]
}

/** Runs again with more tables loaded until nothing was touched that had not been loaded. */
export async function evaluateWithLoads(
  execution: Execution,
  rows: readonly LoadedRows[],
  run: (loads: readonly ReturnType<typeof toTableLoad>[]) => Promise<EvaluationResult>,
): Promise<EvaluatedOver> {
  const loaded = [...rows]
  for (;;) {
    const result = await run(loaded.map(toTableLoad))
    let isChanged = false
    for (const oid of result.touchedUnloaded) {
      const at = loaded.findIndex(({ table }) => table.oid === oid)
      if (loaded[at]?.isWhole === true) continue
      const whole = await loadWhole(execution, oid, await chooseReadTimestamp(execution))
      if (whole === undefined) continue
      if (at >= 0) loaded.splice(at, 1)
      loaded.push(whole)
      // Without rows it does the same again; but why it has failed is known only when nothing is missing.
      isChanged ||= whole.rowCount > 0 || result.hasFailed === true
    }
    if (!isChanged) return { result, rows: loaded }
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
  return { ...(await loadRows(execution, table, attnums, readAt, {})), isWhole: true }
}

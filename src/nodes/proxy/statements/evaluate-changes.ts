/** A statement that changes rows, run by PostgreSQL over rows that were loaded, and what it did to them. */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { native } from '#engine/index/native.js'
import type { ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { type LoadedRows, storedColumns, toTableLoad } from '#nodes/proxy/statements/read-rows.js'
import { evaluateWithLoads } from '#nodes/proxy/statements/verbatim.js'
import type {
  CatalogSnapshot,
  EvaluationResult,
  TableChange,
  TableInfo,
  TableLoad,
} from '#postgres/contract.js'

export interface Evaluated {
  readonly result: EvaluationResult
  readonly changes: readonly CapturedChange[]
  /** Those that the changes' positions count; without columns if they came in parts. */
  readonly rows: readonly LoadedRows[]
}

export interface EvaluateOptions {
  readonly capture: readonly TableInfo[]
  readonly foreignKeysOn: boolean
  /** COPY FROM given as the statement. */
  readonly copyData?: Uint8Array
}

export async function evaluateWhole(
  execution: Execution,
  rows: readonly LoadedRows[],
  sequences: EvaluationResult['sequences'],
  options: EvaluateOptions,
): Promise<Evaluated> {
  const evaluated = await evaluateWithLoads(execution, rows, (loads) =>
    evaluateOver(execution, loads, sequences, options),
  )
  const changes = await toChanges(evaluated.result, options.capture, execution.catalog)
  return { ...evaluated, changes }
}

/** Of a statement that changes each row by itself. @returns undefined when it looked at more than the part */
export async function evaluatePart(
  execution: Execution,
  part: LoadedRows,
  scans: readonly ScanPlan[],
  sequences: EvaluationResult['sequences'],
  options: EvaluateOptions,
): Promise<Evaluated | undefined> {
  const others = scans.filter(({ table }) => table.oid !== part.table.oid)
  const loads = [
    toTableLoad(part),
    ...others.map(({ table }) => ({
      ...{ tableOid: table.oid, attnums: [], tuples: new Uint8Array(), rowCount: 0 },
    })),
  ]
  const result = await evaluateOver(execution, loads, sequences, options)
  if (result.touchedUnloaded.length > 0) return undefined
  if ((result.touchedSequences ?? []).length > 0) return undefined
  return { result, changes: await toChanges(result, options.capture, execution.catalog), rows: [] }
}

function evaluateOver(
  execution: Execution,
  loads: readonly TableLoad[],
  sequences: EvaluationResult['sequences'],
  { capture, foreignKeysOn, copyData }: EvaluateOptions,
): Promise<EvaluationResult> {
  return execution.environment.postgres.evaluate(
    {
      ...evaluationOf(execution, execution.bound, loads),
      sequences,
      captureTables: capture.map((table) => table.oid),
      foreignKeys: foreignKeysOn ? 'on' : 'off',
      copyData,
    },
    execution.context,
  )
}

async function toChanges(
  result: EvaluationResult,
  capture: readonly TableInfo[],
  catalog: CatalogSnapshot,
): Promise<readonly CapturedChange[]> {
  const changes: CapturedChange[] = []
  for (const change of result.changes) {
    if (change.removed.length === 0 && change.insertedCount === 0) continue
    const table =
      capture.find((candidate) => candidate.oid === change.tableOid) ??
      catalog.tables.get(change.tableOid)
    // Never lose a write: a table nobody knows means that the instance's catalog is not ours.
    invariant(
      'CAT-2',
      table !== undefined,
      () => `rows were written to unknown table ${change.tableOid}`,
    )
    changes.push({ table, removed: change.removed, inserted: await decodeTuples(change, table) })
  }
  return changes
}

export async function decodeTuples(
  change: Pick<TableChange, 'inserted' | 'insertedCount'>,
  table: TableInfo,
): Promise<ColumnBatch> {
  const columns = storedColumns(table)
  if (change.insertedCount === 0) return { rowCount: 0, columns: [] }
  const block = await native.parseCopyBinary(change.inserted, columns)
  if (block.error !== undefined || block.rowCount !== change.insertedCount) {
    throw new DatabaseError(
      block.error?.sqlState ?? SqlState.internalError,
      block.error?.message ??
        `captured ${change.insertedCount} rows of ${table.name} but could read ${block.rowCount}`,
    )
  }
  return { rowCount: block.rowCount, columns: block.columns }
}

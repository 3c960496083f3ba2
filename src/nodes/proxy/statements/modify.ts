/**
 * ★ INSERT, UPDATE, DELETE, MERGE and data-modifying CTEs: PostgreSQL runs the statement over the rows it can reach and we
 * keep the difference.
 *
 *  1. the rows that the statement's scans can reach are loaded whole (their row ids are remembered);
 *  2. the statement runs verbatim: defaults, casts, NOT NULL, CHECK, generated columns, triggers, RETURNING;
 *  3. removed rows and new row versions are captured; foreign keys and unique keys of new rows are checked against what
 *     is committed; an upsert whose conflicting rows were not loaded is run again with them;
 *  4. the difference goes into the transaction. Committing it is one append to the log.
 */
import { DatabaseError, invariant, notSupported, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { native } from '#engine/index/native.js'
import { planKey } from '#nodes/proxy/plan/plan-cache.js'
import { collectScans, tableOf, typeOfExpressions } from '#nodes/proxy/plan/plan-query.js'
import { planScan } from '#nodes/proxy/plan/plan-scan.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import type { PreparedPlan, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import { makeSlots, resolveSlots } from '#nodes/proxy/plan/resolve-slots.js'
import { SlotCollector, type SlotValues } from '#nodes/proxy/plan/slots.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import {
  checkConditionalKeys,
  holdConditionalKeys,
} from '#nodes/proxy/statements/check-conditional-keys.js'
import { conflictError, findConflict } from '#nodes/proxy/statements/check-keys.js'
import { checkReferences } from '#nodes/proxy/statements/check-references.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import {
  chooseWriteTimestamp,
  type Execution,
  keepsSnapshot,
  renewSnapshot,
} from '#nodes/proxy/statements/execution.js'
import { holdKeys, holdRows } from '#nodes/proxy/statements/hold-rows.js'
import { mergeLoads } from '#nodes/proxy/statements/merge-loads.js'
import {
  type LoadedRows,
  loadRows,
  loadTables,
  readOwn,
  storedColumns,
} from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { wireFields } from '#nodes/proxy/statements/rows-result.js'
import { takeNotices } from '#nodes/proxy/statements/side-effects.js'
import { evaluateWithLoads, loadWhole } from '#nodes/proxy/statements/verbatim.js'
import { withSequences } from '#nodes/proxy/statements/with-sequences.js'
import type {
  CatalogSnapshot,
  EvaluationResult,
  TableChange,
  TableInfo,
} from '#postgres/contract.js'
import { collectRelations } from '#postgres/tree-walk.js'

export async function modify(execution: Execution): Promise<Result> {
  if (execution.transaction.readOnly) {
    throw new DatabaseError(
      '25006',
      `cannot execute ${execution.parsed.kind.toUpperCase()} in a read-only transaction`,
    )
  }
  const prepared = await prepareModify(execution)
  const result = await runModify(execution, prepared)
  takeNotices(execution, result)
  const returnsRows = prepared.description.fields.length > 0
  return {
    fields: returnsRows ? wireFields(prepared, execution.bound.resultFormats) : undefined,
    rows: returnsRows ? [{ data: result.dataRows, count: result.rowCount }] : [],
    tag: () => result.commandTag,
  }
}

/** Scans of a modifying statement: whole rows of the tables it may change, read columns of the others. */
async function prepareModify(execution: Execution): Promise<PreparedPlan> {
  const { environment, settings, transaction, catalog, bound, parsed } = execution
  const cacheable = transaction.pendingDdl.length === 0
  const key = planKey(bound.sql, bound.parameterTypes, settings.planKey(), catalog.version)
  const known = cacheable ? environment.plans.plan(key) : undefined
  if (known !== undefined) return known
  const description = await describeStatement(bound, execution)
  const explained = await environment.postgres.explain(
    bound,
    settings.session(),
    transaction.pendingDdl,
  )
  const slots = new SlotCollector()
  const typeOf = typeOfExpressions({ parsed, explained, description, catalog })
  const scans: ScanPlan[] = []
  for (const node of collectScans(explained)) {
    const table = tableOf(node, catalog)
    if (table === undefined) continue
    const attnums = storedColumns(table).map((column) => column.attnum)
    scans.push(
      planScan(node, table, node.Alias ?? table.name, attnums, {
        table,
        alias: node.Alias ?? table.name,
        slots,
        typeOf,
      }),
    )
  }
  const prepared: PreparedPlan = {
    plan: { kind: 'verbatim', scans, searches: [], limits: [] },
    slots: await makeSlots(slots.expressions, typeOf, execution, description.parameterTypes),
    description,
    explained,
  }
  if (cacheable) environment.plans.putPlan(key, prepared)
  return prepared
}

async function runModify(execution: Execution, prepared: PreparedPlan): Promise<EvaluationResult> {
  if (prepared.plan.kind !== 'verbatim') throw notSupported('this statement cannot be planned')
  const values = await resolveSlots(prepared.slots, prepared.description.parameterTypes, execution)
  const targets = targetTables(execution)
  const capture = withCascades(targets, execution)
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const outcome = await runOnce(execution, prepared.plan.scans, values, targets, capture)
    if (outcome !== undefined) return outcome
    renewSnapshot(execution)
  }
  throw concurrentUpdate()
}

function concurrentUpdate(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access due to concurrent update',
  )
}

/** @returns undefined when a row it wanted to change had been changed meanwhile: look again */
async function runOnce(
  execution: Execution,
  scans: readonly ScanPlan[],
  values: SlotValues,
  targets: readonly TableInfo[],
  capture: readonly TableInfo[],
): Promise<EvaluationResult | undefined> {
  const readAt = await chooseWriteTimestamp(execution)
  const rows = [...(await loadTables(execution, scans, values, readAt))]
  // An upsert may meet rows that the transaction itself has written.
  if (isUpsert(execution)) {
    for (const table of targets) {
      if (
        !execution.transaction.hasWrites(table.oid) ||
        rows.some((entry) => entry.table.oid === table.oid)
      )
        continue
      rows.push(ownRows(execution, table))
    }
    // Nor is it known which rows an index holds that storage cannot judge.
    for (const table of targets) {
      if (table.conditionalKeys.length === 0) continue
      const whole = await loadWhole(execution, table.oid, readAt)
      if (whole !== undefined) rows.splice(0, rows.length, ...mergeLoads(rows, [whole]))
    }
  }
  // Referential actions (ON DELETE CASCADE …) need the referring rows.
  const changesReferenced =
    execution.parsed.kind !== 'insert' && targets.some((table) => table.referencedBy.length > 0)
  if (changesReferenced) {
    for (const table of capture) {
      if (rows.some((entry) => entry.table.oid === table.oid)) continue
      const whole = await loadWhole(execution, table.oid, readAt)
      if (whole !== undefined) rows.push(whole)
    }
  }
  return runUntilSettled(execution, rows, capture, changesReferenced, readAt)
}

/** Runs, captures and checks; once more with the conflicting rows loaded when an upsert meets rows it has not seen. */
export async function runUntilSettled(
  execution: Execution,
  firstRows: readonly LoadedRows[],
  capture: readonly TableInfo[],
  foreignKeysOn: boolean,
  readAt: Timestamp,
  copyData?: Uint8Array,
): Promise<EvaluationResult | undefined> {
  let rows = [...firstRows]
  for (let attempt = 0; ; attempt += 1) {
    const outcome = await withSequencesUntil(execution, capture, async (sequences) => {
      const loaded: LoadedRows[] = [...rows]
      const result = await evaluateWithLoads(execution, loaded, (loads) =>
        execution.environment.postgres.evaluate(
          {
            ...evaluationOf(execution, execution.bound, loads),
            sequences,
            captureTables: capture.map((table) => table.oid),
            foreignKeys: foreignKeysOn ? 'on' : 'off',
            copyData,
          },
          execution.context,
        ),
      )
      const changes = await toChanges(result, capture, execution.catalog)
      return { result, changes, ...(await conflictingRows(execution, changes, loaded, readAt)) }
    })
    if (outcome.outdated) {
      if (keepsSnapshot(execution.transaction)) throw concurrentUpdate()
      return undefined
    }
    if (outcome.unseen.length === 0) {
      if (isUpsert(execution) && !(await holdNewKeys(execution, outcome.changes, rows, readAt)))
        return undefined
      if (!(await lockRemoved(execution, outcome.changes, rows, readAt))) return undefined
      // Only now: a key may be taken by the next version of a row that another transaction has just changed.
      if (outcome.violation !== undefined) throw outcome.violation
      if (!(await holdConditionalKeys(execution, outcome.changes))) return undefined
      await checkReferences(execution, outcome.changes)
      keepChanges(execution, outcome.changes, rows)
      await checkConditionalKeys(execution, outcome.changes)
      // Statements read later and later.
      execution.transaction.changedFrom ??= readAt
      return outcome.result
    }
    if (attempt > 100)
      throw new DatabaseError(SqlState.serializationFailure, 'could not settle an upsert')
    rows = mergeLoads(rows, outcome.unseen)
  }
}

function isUpsert({ parsed }: Execution): boolean {
  return parsed.tree['onConflictClause'] !== undefined || parsed.kind === 'merge'
}

function ownRows(execution: Execution, table: TableInfo): LoadedRows {
  const attnums = storedColumns(table).map((column) => column.attnum)
  const batches = readOwn(execution, table, attnums)
  const rowCount = batches.reduce((sum, batch) => sum + batch.rowCount, 0)
  return { table, attnums, rowIds: new Float64Array(), batches, rowCount }
}

type Attempt = {
  readonly result: EvaluationResult
  readonly changes: readonly CapturedChange[]
  readonly unseen: readonly LoadedRows[]
  readonly violation: DatabaseError | undefined
  /** A row that an upsert meets is newer than what the statement sees. */
  readonly outdated: boolean
}

/** Sequence values used by an attempt that is run again are given back: the second run draws them anew. */
async function withSequencesUntil(
  execution: Execution,
  tables: readonly TableInfo[],
  run: (sequences: EvaluationResult['sequences']) => Promise<Attempt>,
): Promise<Attempt> {
  let attempt: Attempt | undefined
  await withSequences(
    execution,
    async (states) => {
      attempt = await run(states)
      return attempt.unseen.length > 0 ? { ...attempt.result, sequences: [] } : attempt.result
    },
    tables,
  )
  if (attempt === undefined) throw notSupported('the statement was not run')
  return attempt
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

/**
 * Rows that hold a unique key of a new row without having been loaded. For an upsert they must be seen and the statement
 * run again; for anything else they are a violation (23505).
 */
async function conflictingRows(
  execution: Execution,
  changes: readonly CapturedChange[],
  loaded: readonly LoadedRows[],
  readAt: Timestamp,
): Promise<Pick<Attempt, 'unseen' | 'violation' | 'outdated'>> {
  const upsert = isUpsert(execution)
  const unseen: LoadedRows[] = []
  let outdated = false
  for (const change of changes) {
    if (change.inserted.rowCount === 0) continue
    const rows = loaded.find((entry) => entry.table.oid === change.table.oid)
    const removed = removedRowIds(change, rows)
    const conflict = await findConflict(
      execution,
      change.table,
      change.inserted,
      removed,
      removedOwn(change, rows),
    )
    if (conflict === undefined) continue
    const seen = conflict.rowId < 0 || rows?.rowIds.includes(conflict.rowId) === true
    if (!upsert || seen) {
      const violation = conflictError(change.table, conflict, execution.settings)
      return { unseen: [], violation, outdated: false }
    }
    const attnums = storedColumns(change.table).map((column) => column.attnum)
    const found = await loadRows(execution, change.table, attnums, readAt, {
      keys: { indexOid: conflict.indexOid, values: await conflict.allKeys() },
    })
    outdated ||= !found.rowIds.includes(conflict.rowId)
    unseen.push(found)
  }
  return { unseen, violation: undefined, outdated }
}

/** @returns false when somebody else has added one of the keys meanwhile: the upsert must look again */
async function holdNewKeys(
  execution: Execution,
  changes: readonly CapturedChange[],
  rows: readonly LoadedRows[],
  readAt: Timestamp,
): Promise<boolean> {
  if (!(await holdKeys(execution, changes))) return false
  if ((await execution.environment.streaming.strongTimestamp()) === readAt) return true
  return (await conflictingRows(execution, changes, rows, readAt)).unseen.length === 0
}

function removedRowIds(change: CapturedChange, rows: LoadedRows | undefined): readonly number[] {
  const ids: number[] = []
  for (const position of change.removed) {
    const id = rows?.rowIds[position]
    if (id !== undefined) ids.push(id)
  }
  return ids
}

/** Positions among the transaction's own rows: they follow the stored ones in a load. */
function removedOwn(change: CapturedChange, rows: LoadedRows | undefined): number[] {
  const storedCount = rows?.rowIds.length ?? 0
  const own: number[] = []
  for (const position of change.removed)
    if (position >= storedCount) own.push(position - storedCount)
  return own.sort((a, b) => a - b)
}

/**
 * Holds the rows that go, and makes sure that they are still what was read.
 * @returns false when the statement must look again. @throws 40001 under REPEATABLE READ
 */
async function lockRemoved(
  execution: Execution,
  changes: readonly CapturedChange[],
  rows: readonly LoadedRows[],
  readAt: Timestamp,
): Promise<boolean> {
  for (const change of changes) {
    const loaded = rows.find((entry) => entry.table.oid === change.table.oid)
    const rowIds = Float64Array.from(removedRowIds(change, loaded)).sort()
    if (rowIds.length === 0) continue
    if (await holdRows(execution, change.table, rowIds, readAt, 'wait')) continue
    return false
  }
  return true
}

/** The difference becomes part of the transaction. */
function keepChanges(
  execution: Execution,
  changes: readonly CapturedChange[],
  rows: readonly LoadedRows[],
): void {
  for (const change of changes) {
    const loaded = rows.find((entry) => entry.table.oid === change.table.oid)
    execution.environment.tableCounters.change(
      change.table.oid,
      execution.parsed.kind,
      change.removed.length,
      change.inserted.rowCount,
    )
    const overlay = execution.transaction.overlay(change.table.oid)
    overlay.deleteOwn(removedOwn(change, loaded))
    overlay.deleteStored(removedRowIds(change, loaded))
    overlay.insert(
      change.inserted,
      storedColumns(change.table).map((column) => column.attnum),
    )
  }
}

/** Tables named as targets (also in CTEs), leaf partitions instead of parents. */
export function targetTables(execution: Execution): readonly TableInfo[] {
  const { catalog, parsed } = execution
  const found = new Map<number, TableInfo>()
  const add = (table: TableInfo): void => {
    if (table.kind === 'table') found.set(table.oid, table)
    for (const oid of table.partitions) {
      const leaf = catalog.tables.get(oid)
      if (leaf !== undefined) add(leaf)
    }
  }
  // Every relation named is a candidate: capturing one that does not change costs next to nothing.
  const names = new Set(collectRelations(parsed.tree).map((relation) => relation.name))
  for (const table of catalog.tables.values()) if (names.has(table.name)) add(table)
  // Rules and updatable views write to tables that the text does not name; triggers may write anywhere.
  const unknown = found.size === 0 || [...found.values()].some((table) => table.hasTriggers)
  if (unknown) for (const table of catalog.tables.values()) add(table)
  return [...found.values()]
}

/** The tables and everything that refers to them, directly or not. */
function withCascades(tables: readonly TableInfo[], execution: Execution): readonly TableInfo[] {
  const found = new Map(tables.map((table) => [table.oid, table]))
  const queue = execution.parsed.kind === 'insert' ? [] : [...tables]
  for (let table = queue.pop(); table !== undefined; table = queue.pop()) {
    for (const { tableOid } of table.referencedBy) {
      const referring = execution.catalog.tables.get(tableOid)
      if (referring === undefined || found.has(tableOid)) continue
      found.set(tableOid, referring)
      queue.push(referring)
    }
  }
  return [...found.values()]
}

/**
 * ★ INSERT, UPDATE, DELETE, MERGE, data-modifying CTEs, and what calls functions that may change rows (SELECT, DO, CALL): PostgreSQL
 * runs the statement over the rows it can reach and we keep the difference.
 *
 *  1. the rows that the statement's scans can reach are loaded whole (their row ids are remembered), all at once, or a part at a time
 *     where each row is changed by itself (evaluate-parts.ts);
 *  2. the statement runs verbatim: defaults, casts, NOT NULL, CHECK, generated columns, triggers, RETURNING;
 *  3. removed rows and new row versions are captured; foreign keys and unique keys of new rows are checked against what
 *     is committed; an upsert whose conflicting rows were not loaded is run again with them;
 *  4. the difference goes into the transaction. Committing it is one append to the log.
 */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { columnsRead, namesUsed } from '#nodes/proxy/plan/columns-used.js'
import { planKey } from '#nodes/proxy/plan/plan-cache.js'
import { collectScans, tableOf, typeOfExpressions } from '#nodes/proxy/plan/plan-query.js'
import { planScan } from '#nodes/proxy/plan/plan-scan.js'
import { planFunctionCalls } from '#nodes/proxy/plan/plan-whole-tables.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import type { PreparedPlan, ScanPlan, VerbatimPlan } from '#nodes/proxy/plan/query-plan.js'
import { makeSlots, resolveSlots } from '#nodes/proxy/plan/resolve-slots.js'
import { isRowByRow } from '#nodes/proxy/plan/row-by-row.js'
import { SlotCollector, type SlotValues } from '#nodes/proxy/plan/slots.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import {
  checkConditionalKeys,
  holdConditionalKeys,
} from '#nodes/proxy/statements/check-conditional-keys.js'
import { conflictError, findConflict } from '#nodes/proxy/statements/check-keys.js'
import { checkReferences } from '#nodes/proxy/statements/check-references.js'
import {
  type Evaluated,
  type EvaluateOptions,
  evaluatePart,
  evaluateWhole,
} from '#nodes/proxy/statements/evaluate-changes.js'
import { evaluateParts } from '#nodes/proxy/statements/evaluate-parts.js'
import {
  chooseReadTimestamp,
  chooseWriteTimestamp,
  type Execution,
  keepsSnapshot,
  renewSnapshot,
} from '#nodes/proxy/statements/execution.js'
import { holdKeys, holdRows } from '#nodes/proxy/statements/hold-rows.js'
import { areKeysGone } from '#nodes/proxy/statements/keys-gone.js'
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
import { loadWhole } from '#nodes/proxy/statements/verbatim.js'
import { withSequences } from '#nodes/proxy/statements/with-sequences.js'
import type {
  CatalogSnapshot,
  Description,
  EvaluationResult,
  PlanNode,
  TableInfo,
} from '#postgres/contract.js'
import { collectRelations } from '#postgres/tree-walk.js'

/** @param planned of what may change rows without saying so: functions and bodies do */
export async function modify(execution: Execution, planned?: PreparedPlan): Promise<Result> {
  if (execution.transaction.readOnly && planned === undefined) throw readOnly(execution.parsed.kind)
  if (planned !== undefined && execution.parsed.tree['lockingClause'] !== undefined) {
    throw notSupported(
      'FOR UPDATE in a statement that calls a volatile function is not supported',
      'Declare the function STABLE or IMMUTABLE if it changes nothing.',
    )
  }
  const prepared = planned ?? (await prepareModify(execution))
  const result = await runModify(execution, prepared)
  takeNotices(execution, result)
  const returnsRows = prepared.description.fields.length > 0
  return {
    fields: returnsRows ? wireFields(prepared, execution.bound.resultFormats) : undefined,
    rows: returnsRows ? [{ data: result.dataRows, count: result.rowCount }] : [],
    tag: () => result.commandTag,
  }
}

/** That a function, or a body, changes something is known when it has. Reading in the past is read-only, too. */
function checkMayChange(
  { parsed, transaction }: Execution,
  changes: readonly CapturedChange[],
): void {
  if (changes.length > 0 && transaction.readOnly) throw readOnly(parsed.kind)
}

/** DO, and CALL of a user's procedure: what they look at and change is said in a body. */
export async function runBody(execution: Execution): Promise<Result> {
  const description =
    execution.parsed.kind === 'call'
      ? await describeStatement(execution.bound, execution)
      : { parameterTypes: [], fields: [] }
  return modify(execution, {
    plan: { kind: 'verbatim', scans: [], searches: [], limits: [], mayChange: true },
    ...{ slots: [], description, explained: { 'Node Type': 'Body' } },
  })
}

function readOnly(kind: string): DatabaseError {
  return new DatabaseError(
    '25006',
    `cannot execute ${kind.toUpperCase()} in a read-only transaction`,
  )
}

/** Scans of a modifying statement: whole rows of the tables it may change, read columns of the others. */
async function prepareModify(execution: Execution): Promise<PreparedPlan> {
  const { environment, settings, transaction, catalog, bound } = execution
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
  const calling = planFunctionCalls({ explained, catalog })
  const prepared: PreparedPlan =
    calling === undefined
      ? { ...(await planScans(execution, explained, description)), description, explained }
      : { plan: calling, slots: [], description, explained }
  if (cacheable) environment.plans.putPlan(key, prepared)
  return prepared
}

async function planScans(
  execution: Execution,
  explained: PlanNode,
  description: Description,
): Promise<Pick<PreparedPlan, 'plan' | 'slots'>> {
  const { transaction, catalog, parsed } = execution
  const slots = new SlotCollector()
  const typeOf = typeOfExpressions({ parsed, explained, description, catalog })
  const rowByRow = transaction.pendingDdl.length === 0 && isRowByRow(parsed, explained, catalog)
  const used =
    rowByRow && parsed.kind === 'delete' ? namesUsed({ parsed, explained, catalog }) : undefined
  const scans: ScanPlan[] = []
  for (const node of collectScans(explained)) {
    const table = tableOf(node, catalog)
    if (table === undefined) continue
    const attnums =
      used === undefined
        ? storedColumns(table).map((column) => column.attnum)
        : columnsRead(table, used)
    const alias = node.Alias ?? table.name
    scans.push(planScan(node, table, alias, attnums, { table, alias, slots, typeOf }))
  }
  return {
    plan: { kind: 'verbatim', scans, searches: [], limits: [], isRowByRow: rowByRow },
    slots: await makeSlots(slots.expressions, typeOf, execution, description.parameterTypes),
  }
}

async function runModify(execution: Execution, prepared: PreparedPlan): Promise<EvaluationResult> {
  const { plan } = prepared
  if (plan.kind !== 'verbatim') throw notSupported('this statement cannot be planned')
  const values = await resolveSlots(prepared.slots, prepared.description.parameterTypes, execution)
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    const isQuery = plan.mayChange === true && execution.parsed.kind === 'select'
    const readAt =
      isQuery && attempt === 0
        ? await chooseReadTimestamp(execution)
        : await chooseWriteTimestamp(execution)
    const outcome = await runOnce(execution, prepared, plan, values, readAt)
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
  prepared: PreparedPlan,
  plan: VerbatimPlan,
  values: SlotValues,
  readAt: Timestamp,
): Promise<EvaluationResult | undefined> {
  const { catalog, parsed } = execution
  const targets = namedTables(execution)
  const mayChange = tablesThatMayChange(execution, targets, plan)
  const capture = parsed.kind === 'insert' ? mayChange : withReferring(mayChange, catalog)
  // Referential actions (ON DELETE CASCADE …) need the referring rows.
  const foreignKeysOn =
    parsed.kind === 'delete' && targets.some((table) => table.referencedBy.length > 0)
  const options: EvaluateOptions = { capture, foreignKeysOn }
  const load = (referring: readonly TableInfo[]) =>
    loadReachable(execution, plan.scans, values, readAt, { targets, referring })
  const evaluate: Evaluate = async (rows, sequences) => {
    const evaluated = await evaluateWhole(execution, rows, sequences, options)
    const { changes } = evaluated
    if (foreignKeysOn || !areKeysGone(changes, evaluated.rows)) return evaluated
    const referring = withReferring(
      changes.map(({ table }) => table),
      catalog,
    )
    const again = { capture: withReferring(capture, catalog), foreignKeysOn: true }
    return evaluateWhole(execution, await load(referring), sequences, again)
  }
  if (plan.isRowByRow !== true) {
    const rows = await load(foreignKeysOn ? withReferring(targets, catalog) : [])
    return runUntilSettled(execution, rows, capture, readAt, evaluate)
  }
  const isJudged =
    execution.parsed.kind === 'delete' &&
    prepared.description.fields.length === 0 &&
    plan.scans.every((scan) => scan.filterComplete)
  const inParts: Evaluate = async (_, sequences) => {
    const parts = await evaluateParts(execution, {
      ...{ scans: plan.scans, values, readAt, isJudged, sequences },
      evaluate: (part) => evaluatePart(execution, part, plan.scans, sequences, options),
    })
    return parts ?? (await evaluate(await load([]), sequences))
  }
  return runUntilSettled(execution, [], capture, readAt, inParts)
}

/** All rows that the statement can reach, in its own text and behind it. */
async function loadReachable(
  execution: Execution,
  scans: readonly ScanPlan[],
  values: SlotValues,
  readAt: Timestamp,
  {
    targets,
    referring,
  }: { readonly targets: readonly TableInfo[]; readonly referring: readonly TableInfo[] },
): Promise<LoadedRows[]> {
  const rows = [...(await loadTables(execution, scans, values, readAt))]
  const isLoaded = (table: TableInfo): boolean =>
    rows.some((entry) => entry.table.oid === table.oid)
  // An upsert may meet rows that the transaction itself has written.
  if (isUpsert(execution)) {
    for (const table of targets) {
      if (!execution.transaction.hasWrites(table.oid) || isLoaded(table)) continue
      rows.push(ownRows(execution, table))
    }
    // Nor is it known which rows an index holds that storage cannot judge.
    for (const table of targets) {
      if (table.conditionalKeys.length === 0) continue
      const whole = await loadWhole(execution, table.oid, readAt)
      if (whole !== undefined) rows.splice(0, rows.length, ...mergeLoads(rows, [whole]))
    }
  }
  for (const table of referring) {
    if (isLoaded(table)) continue
    const whole = await loadWhole(execution, table.oid, readAt)
    if (whole !== undefined) rows.push(whole)
  }
  return rows
}

type Evaluate = (
  rows: readonly LoadedRows[],
  sequences: EvaluationResult['sequences'],
) => Promise<Evaluated>

/**
 * Runs, captures and checks; once more with the conflicting rows loaded when an upsert meets rows it has not seen.
 * @param capture tables that may change
 * @returns undefined when a row had been changed meanwhile: look again
 */
export async function runUntilSettled(
  execution: Execution,
  firstRows: readonly LoadedRows[],
  capture: readonly TableInfo[],
  readAt: Timestamp,
  evaluate: Evaluate,
): Promise<EvaluationResult | undefined> {
  let rows = [...firstRows]
  for (let attempt = 0; ; attempt += 1) {
    const outcome = await withSequencesUntil(execution, capture, async (sequences) => {
      const evaluated = await evaluate(rows, sequences)
      const { changes } = evaluated
      checkMayChange(execution, changes)
      return {
        ...evaluated,
        ...(await conflictingRows(execution, changes, evaluated.rows, readAt)),
      }
    })
    if (outcome.outdated) {
      if (keepsSnapshot(execution.transaction)) throw concurrentUpdate()
      return undefined
    }
    if (outcome.unseen.length === 0) return await settle(execution, outcome, readAt)
    if (attempt > 100)
      throw new DatabaseError(SqlState.serializationFailure, 'could not settle an upsert')
    rows = mergeLoads(rows, outcome.unseen)
  }
}

/** @returns undefined when a row had been changed meanwhile: look again */
async function settle(
  execution: Execution,
  { result, changes, rows, violation }: Attempt,
  readAt: Timestamp,
): Promise<EvaluationResult | undefined> {
  if (isUpsert(execution) && !(await holdNewKeys(execution, changes, rows, readAt)))
    return undefined
  if (!(await lockRemoved(execution, changes, rows, readAt))) return undefined
  // Only now: a key may be taken by the next version of a row that another transaction has just changed.
  if (violation !== undefined) throw violation
  if (!(await holdConditionalKeys(execution, changes))) return undefined
  await checkReferences(execution, changes)
  keepChanges(execution, changes, rows)
  await checkConditionalKeys(execution, changes)
  // Statements read later and later.
  execution.transaction.changedFrom ??= readAt
  return result
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

interface Attempt extends Evaluated {
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
function namedTables({ catalog, parsed }: Execution): readonly TableInfo[] {
  // Every relation named is a candidate: capturing one that does not change costs next to nothing.
  const names = new Set(collectRelations(parsed.tree).map((relation) => relation.name))
  return leavesOf(
    [...catalog.tables.values()].filter(({ name }) => names.has(name)),
    catalog,
  )
}

/** Rules and updatable views write to tables that the text does not name; triggers and functions may write anywhere. */
function tablesThatMayChange(
  { catalog }: Execution,
  targets: readonly TableInfo[],
  plan?: VerbatimPlan,
): readonly TableInfo[] {
  const isKnown =
    targets.length > 0 && plan?.mayChange !== true && !targets.some((table) => table.hasTriggers)
  return isKnown ? targets : leavesOf([...catalog.tables.values()], catalog)
}

function leavesOf(tables: readonly TableInfo[], catalog: CatalogSnapshot): readonly TableInfo[] {
  const found = new Map<number, TableInfo>()
  const add = (table: TableInfo): void => {
    if (table.kind === 'table') found.set(table.oid, table)
    for (const oid of table.partitions) {
      const leaf = catalog.tables.get(oid)
      if (leaf !== undefined) add(leaf)
    }
  }
  for (const table of tables) add(table)
  return [...found.values()]
}

/** What a COPY into the table may change. */
export function targetTables(execution: Execution): readonly TableInfo[] {
  return tablesThatMayChange(execution, namedTables(execution))
}

/** The tables and everything that refers to them, directly or not. */
function withReferring(
  tables: readonly TableInfo[],
  catalog: CatalogSnapshot,
): readonly TableInfo[] {
  const found = new Map(tables.map((table) => [table.oid, table]))
  // Map iteration goes on to what is added while it runs.
  for (const table of found.values()) {
    for (const { tableOid } of table.referencedBy) {
      const referring = catalog.tables.get(tableOid)
      if (referring !== undefined) found.set(tableOid, referring)
    }
  }
  return [...found.values()]
}

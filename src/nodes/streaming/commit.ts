/**
 * Commits a transaction: judged and entered (admit.ts), then, when the log has it and all before it are applied, applied
 * and acknowledged.
 *
 * If the log refuses (determinate), what was entered is taken back. If the log does not know (indeterminate), the node fails:
 * replay finds out.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import { encodeKey } from '#engine/columnar/key.js'
import { type Admitted, admit, dropInserted, writeRecords } from '#nodes/streaming/admit.js'
import { applyHeld } from '#nodes/streaming/apply.js'
import { findReferenced } from '#nodes/streaming/check-reference.js'
import type { CommitPlan } from '#nodes/streaming/commit-plan.js'
import type { CommitRequest, CommitResult, Decision } from '#nodes/streaming/contract.js'
import { keyTypeNames } from '#nodes/streaming/key-columns.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import type { ReferenceRecord } from '#nodes/streaming/prepare-record.js'
import { type Held, hold, release } from '#nodes/streaming/prepared.js'
import type { StreamingState } from '#nodes/streaming/state.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'

const none: readonly ReferenceRecord[] = []

/** What a transaction that decides for others wants to know and say of its commit. */
export interface DecidingCommit {
  readonly decision: Decision
  /** In the step that judges. @throws 40001 when it is refused */
  check(): void
  /** It is on the way to the log. */
  appending(): void
  /** It is in the log, and applied. */
  committed(at: Timestamp, position: number): void
}

export function commit(
  state: StreamingState,
  request: CommitRequest,
  context: Context,
  deciding?: DecidingCommit,
): Promise<CommitResult> {
  return admit(state, request, context, deciding?.check, (admitted) =>
    append(state, admitted, deciding),
  )
}

/** The step from judging to the log; async only in what it returns. */
function append(
  state: StreamingState,
  admitted: Admitted,
  deciding: DecidingCommit | undefined,
): Promise<CommitResult> {
  const { plan, timestamp, stages } = admitted
  for (const reference of referencesOf(state, plan)) {
    state.references.add(reference.tableId, reference.rowId, { at: timestamp, ...reference })
  }
  const held: Held = {
    writes: plan.writes,
    stages,
    absentKeys: plan.absent.flatMap(({ records }) => records),
    references: none,
  }
  const record = encodeLogRecord({
    kind: 'commit',
    timestamp,
    decision: deciding?.decision,
    stageIds: stages.map((stage) => stage.stageId),
    writes: writeRecords(plan),
    ddl: plan.request.ddl,
  })
  const entered = state.commits.enter(timestamp, {
    apply: (position) => {
      release(state.transactions, held, entered.commit)
      applyHeld(state, held, timestamp, position)
      for (const copy of plan.copies) copy.committed()
      const { ddl } = plan.request
      if (ddl !== undefined) state.unsettledDdl.set(timestamp, { position, ddl })
      deciding?.committed(timestamp, position)
    },
    undo: () => {
      release(state.transactions, held, entered.commit)
      dropInserted(state, admitted)
    },
  })
  hold(state.transactions, held, entered.commit)
  deciding?.appending()
  state.log.append([...admitted.payloads, record], entered.appended).catch(entered.failed)
  return entered.done.then(
    () => ({ timestamp }),
    (error: unknown) => {
      throw storeFailure(error)
    },
  )
}

/** Rows that this transaction relies on: see recent-references.ts. */
export function referencesOf(state: StreamingState, plan: CommitPlan): readonly ReferenceRecord[] {
  if (plan.references.length === 0) return none
  return plan.references.flatMap((planned) => {
    const found = findReferenced(state, plan, planned)
    if (found?.kind !== 'row') return []
    const { schema, key, columns } = planned
    const encoded = encodeKey(columns, 0, keyTypeNames(schema, key))
    const { tableId } = schema
    return [{ tableId, indexOid: key.indexOid, rowId: found.rowId, key: encoded }]
  })
}

/**
 * The way of every transaction into the log, alone or prepared:
 *
 * 1. Look up in sealed segments what the assertions need (only if there are any).
 * 2. In one step, without waiting: draw the timestamp, judge the assertions against what is applied and what is under
 *    way, enter rows and deletes as pending, and call the log. So the log's order is the order of timestamps, and whoever
 *    judges later sees this one as under way.
 *
 * A conflict with a transaction under way waits for its outcome and judges again.
 */
import type { Context } from '#base/context.js'
import { checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { encodeBatch } from '#engine/columnar/batch-codec.js'
import { checkCommit } from '#nodes/streaming/check-commit.js'
import {
  type CommitPlan,
  lookUpPlan,
  planCommit,
  segmentsNeeded,
} from '#nodes/streaming/commit-plan.js'
import { waitSettled } from '#nodes/streaming/commit-queue.js'
import type { CommitRequest } from '#nodes/streaming/contract.js'
import { drawTimestamp, fetchTimestamp } from '#nodes/streaming/draw-timestamp.js'
import { createStage, dropStage, enterRows } from '#nodes/streaming/enter-rows.js'
import { admitRows } from '#nodes/streaming/growing-memory.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'
import type { CommitWriteRecord } from '#nodes/streaming/write-record.js'

export interface Admitted {
  readonly plan: CommitPlan
  readonly timestamp: Timestamp
  /** Rows records and batches, for the append. */
  readonly payloads: readonly Uint8Array[]
  /** All whose rows belong to the transaction. */
  readonly stages: readonly Stage[]
  /** Those made for its inserts, to be dropped if it does not come to be. */
  readonly inserted: readonly Stage[]
}

/**
 * @param check throws when it may not be entered any more; called in the step that enters
 * @param append calls the log, in the same step
 */
export async function admit<Result>(
  state: StreamingState,
  request: CommitRequest,
  context: Context,
  check: (() => void) | undefined,
  append: (admitted: Admitted) => Promise<Result>,
): Promise<Result> {
  let plan = planCommit(state, request)
  for (const copy of plan.copies) await copy.durable()
  const encoded = plan.writes.map((write) => write.inserts.map(encodeBatch))
  const room = admitRows(state, encoded.flat(), context)
  if (room !== undefined) await room
  let fetched: Timestamp | undefined
  for (;;) {
    checkCancelled(context)
    checkUsable(state)
    const lookUp = lookUpPlan(state, plan, context)
    if (lookUp !== undefined) await lookUp
    if (!state.segmentIds.has(segmentsNeeded(plan))) {
      await state.segmentIds.ensure(segmentsNeeded(plan))
    }
    const timestamp = drawTimestamp(state, fetched)
    if (timestamp === undefined) {
      fetched = await fetchTimestamp(state, context)
      continue
    }
    checkUsable(state)
    check?.()
    // Given up while something was waited for, by whoever held them: the transaction may not be committed without them.
    for (const copy of plan.copies) copy.checkOpen()
    if (request.before !== undefined && timestamp >= request.before) throw locksEnded()
    if (isOfEarlierTurn(state, request)) throw turnEnded()
    const verdict = checkCommit(state, plan)
    if (verdict === undefined) return await append(enterPlan(state, plan, encoded, timestamp))
    if (verdict.kind === 'error') throw verdict.error
    if (verdict.kind === 'wait') await waitSettled(verdict.on, context.signal)
    else plan = planCommit(state, request)
  }
}

function isOfEarlierTurn(state: StreamingState, { ddl, ddlTurn }: CommitRequest): boolean {
  return ddl !== undefined && ddlTurn !== undefined && ddlTurn < state.ddlTurn
}

function turnEnded(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access: another proxy may have changed the catalog',
    { hint: 'This one was not heard of for seconds. Try the transaction again.' },
  )
}

function locksEnded(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access: the locks of the transaction were lost',
    { hint: 'The node that kept them was away. Try the transaction again.' },
  )
}

function enterPlan(
  state: StreamingState,
  plan: CommitPlan,
  encoded: readonly (readonly Uint8Array[])[],
  timestamp: Timestamp,
): Admitted {
  const payloads: Uint8Array[] = []
  const stages: Stage[] = plan.copies.map((copy) => copy.stage)
  const inserted: Stage[] = []
  plan.writes.forEach((write, i) => {
    if (write.inserts.length === 0) return
    const stage = createStage(state, write.channel)
    write.inserts.forEach((batch, j) => {
      payloads.push(...enterRows(state, stage, batch, encoded[i]?.[j] ?? encodeBatch(batch)))
    })
    inserted.push(stage)
  })
  stages.push(...inserted)
  return { plan, timestamp, payloads, stages, inserted }
}

export function dropInserted(state: StreamingState, { inserted }: Admitted): void {
  for (const stage of inserted) dropStage(state, stage)
}

/** For the record: its rows are in records of their own. */
export function writeRecords({ writes }: CommitPlan): readonly CommitWriteRecord[] {
  return writes
    .filter(({ truncate, deletes }) => truncate || deletes.length > 0)
    .map(({ channel, schema, truncate, deletes }) => ({
      tableId: channel.tableId,
      shard: channel.shard,
      incarnation: schema.incarnation,
      truncate,
      deletes,
    }))
}

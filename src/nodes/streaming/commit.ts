/**
 * Commits a transaction.
 *
 * 1. Look up in sealed segments what the assertions need (only if there are any).
 * 2. In one step, without waiting: draw the timestamp, judge the assertions against what is applied and what is under
 *    way, enter rows and deletes as pending, and call the log. So the log's order is the order of timestamps, and whoever
 *    judges later sees this commit as under way.
 * 3. When the log has it and all before it are applied: apply, acknowledge.
 *
 * A conflict with a commit under way waits for its outcome and judges again. If the log refuses (determinate), what was
 * entered is taken back. If the log does not know (indeterminate), the node fails: replay finds out.
 */
import type { Context } from '#base/context.js'
import { checkCancelled } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import { encodeBatch } from '#engine/columnar/batch-codec.js'
import { encodeKey } from '#engine/columnar/key.js'
import { applyDeletes, applyStage, applyTruncate } from '#nodes/streaming/apply.js'
import { checkCommit } from '#nodes/streaming/check-commit.js'
import { findReferenced } from '#nodes/streaming/check-reference.js'
import {
  type CommitPlan,
  lookUpPlan,
  planCommit,
  segmentsNeeded,
} from '#nodes/streaming/commit-plan.js'
import type { CommitRequest, CommitResult } from '#nodes/streaming/contract.js'
import { drawTimestamp, fetchTimestamp } from '#nodes/streaming/draw-timestamp.js'
import { createStage, dropStage, enterRows } from '#nodes/streaming/enter-rows.js'
import { admitRows } from '#nodes/streaming/growing-memory.js'
import { schemaColumns } from '#nodes/streaming/key-columns.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'

export async function commit(
  state: StreamingState,
  request: CommitRequest,
  context: Context,
): Promise<CommitResult> {
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
    const verdict = checkCommit(state, plan)
    if (verdict === undefined) return await append(state, plan, encoded, timestamp)
    if (verdict.kind === 'error') throw verdict.error
    if (verdict.kind === 'wait') await verdict.on
    else plan = planCommit(state, request)
  }
}

/** The step from judging to the log; async only in what it returns. */
function append(
  state: StreamingState,
  plan: CommitPlan,
  encoded: readonly (readonly Uint8Array[])[],
  timestamp: Timestamp,
): Promise<CommitResult> {
  rememberReferences(state, plan, timestamp)
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
  payloads.push(encodeCommit(plan, stages, timestamp))

  const entered = state.commits.enter(timestamp, {
    apply: (position) => {
      release(plan, stages)
      applyCommit(state, plan, stages, timestamp, position)
    },
    undo: () => {
      release(plan, stages)
      for (const stage of inserted) dropStage(state, stage)
    },
  })
  for (const stage of stages) stage.committing = entered.commit
  for (const { channel, deletes, truncate } of plan.writes) {
    for (const rowId of deletes) channel.pendingDeletes.set(rowId, entered.commit)
    if (truncate) channel.pendingTruncate = entered.commit
  }
  state.log.append(payloads, entered.appended).catch(entered.failed)
  return entered.done.then(
    () => ({ timestamp }),
    (error: unknown) => {
      throw storeFailure(error)
    },
  )
}

/** It is under way no more. */
function release(plan: CommitPlan, stages: readonly Stage[]): void {
  for (const stage of stages) stage.committing = undefined
  for (const { channel, deletes, truncate } of plan.writes) {
    for (const rowId of deletes) channel.pendingDeletes.delete(rowId)
    if (truncate) channel.pendingTruncate = undefined
  }
}

function applyCommit(
  state: StreamingState,
  plan: CommitPlan,
  stages: readonly Stage[],
  at: Timestamp,
  position: number,
): void {
  for (const { channel, deletes, truncate } of plan.writes) {
    if (truncate) applyTruncate(channel, at, position)
    if (deletes.length > 0) applyDeletes(state, channel, deletes, at, position)
  }
  for (const stage of stages) {
    applyStage(stage, at)
    state.stages.delete(stage.stageId)
  }
  for (const copy of plan.copies) {
    copy.committed()
    for (const segment of copy.stage.segments) segment.versionsMixed = true
  }
  const { ddl } = plan.request
  if (ddl !== undefined) state.unsettledDdl.set(at, { position, ddl })
}

function encodeCommit(plan: CommitPlan, stages: readonly Stage[], at: Timestamp): Uint8Array {
  const writes = plan.writes.filter(({ truncate, deletes }) => truncate || deletes.length > 0)
  return encodeLogRecord({
    kind: 'commit',
    timestamp: at,
    transactionId: 0,
    stageIds: stages.map((stage) => stage.stageId),
    writes: writes.map(({ channel, schema, truncate, deletes }) => ({
      tableId: channel.tableId,
      shard: channel.shard,
      incarnation: schema.incarnation,
      truncate,
      deletes,
    })),
    ddl: plan.request.ddl,
  })
}

/** Rows that this transaction relies on: see recent-references.ts. */
function rememberReferences(state: StreamingState, plan: CommitPlan, at: Timestamp): void {
  for (const planned of plan.references) {
    const found = findReferenced(state, plan, planned)
    if (found?.kind !== 'row') continue
    const { schema, key, columns } = planned
    const typeNames = schemaColumns(schema, key.attnums).map(({ typeName }) => typeName)
    state.references.add(schema.tableId, found.rowId, {
      at,
      indexOid: key.indexOid,
      key: encodeKey(columns, 0, typeNames),
    })
  }
}

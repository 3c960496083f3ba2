/** The assertions of a transaction, judged in one step: rows still live, keys free, references there. */
import { encodeKey } from '#engine/columnar/key.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { checkAbsent } from '#nodes/streaming/check-absent.js'
import { checkInserts, type Removed } from '#nodes/streaming/check-inserts.js'
import { checkKnownKeys } from '#nodes/streaming/check-known-keys.js'
import { checkReference } from '#nodes/streaming/check-reference.js'
import { checkSuspects } from '#nodes/streaming/check-suspects.js'
import type { CommitPlan, PlannedWrite } from '#nodes/streaming/commit-plan.js'
import type { CommitVerdict } from '#nodes/streaming/commit-verdict.js'
import { keyColumnsOf, schemaColumns } from '#nodes/streaming/key-columns.js'
import { concurrentUpdate } from '#nodes/streaming/key-error.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'

const nothingRemoved: Removed = { deletes: new Float64Array(0), truncate: false }

export function checkCommit(state: StreamingState, plan: CommitPlan): CommitVerdict | undefined {
  const removedFrom = (channel: Channel) =>
    plan.writes.find((write) => write.channel === channel) ?? nothingRemoved
  const ownStages = new Set(plan.copies.map((copy) => copy.stage.stageId))
  for (const write of plan.writes) {
    if (tableOf(state, write.channel.tableId).schema !== write.schema) return { kind: 'again' }
    const verdict = checkTruncate(state, write) ?? checkDeletes(state, plan, write)
    if (verdict !== undefined) return verdict
  }
  const unaware = checkKnownKeys(state, plan)
  if (unaware !== undefined) return { kind: 'error', error: unaware }
  for (const write of plan.writes) {
    const verdict = checkInserts(state, write.check, { removedFrom, ownStages })
    if (verdict.kind !== 'free') return verdict
  }
  for (const absent of plan.absent) {
    const verdict = checkAbsent(state, absent, { removedFrom, ownStages })
    if (verdict !== undefined) return verdict
  }
  for (const { stage } of plan.copies) {
    const { pendingTruncate } = stage.channel
    if (pendingTruncate !== undefined) return { kind: 'wait', on: pendingTruncate }
    const verdict = checkSuspects(state, plan, stage)
    if (verdict !== undefined) return verdict
  }
  for (const reference of plan.references) {
    const verdict = checkReference(state, plan, reference)
    if (verdict !== undefined) return verdict
  }
  return undefined
}

/**
 * Whatever is truncated was committed before, whatever is not, after: while a truncation is under way nothing else commits on
 * the channel, and it waits for what is prepared there.
 */
function checkTruncate(
  state: StreamingState,
  { channel, truncate }: PlannedWrite,
): CommitVerdict | undefined {
  if (channel.pendingTruncate !== undefined) return { kind: 'wait', on: channel.pendingTruncate }
  if (!truncate) return undefined
  const on = channel.firstUndecided() ?? state.transactions.holderIn(channel.tableId)
  return on === undefined ? undefined : { kind: 'wait', on }
}

function checkDeletes(
  state: StreamingState,
  plan: CommitPlan,
  write: PlannedWrite,
): CommitVerdict | undefined {
  const { channel, deletes } = write
  if (deletes.length > 0 && state.references.isForgotten(plan.request.readAt)) {
    return { kind: 'error', error: concurrentUpdate() }
  }
  for (const rowId of deletes) {
    const deleting = channel.pendingDeletes.get(rowId)
    if (deleting !== undefined) return { kind: 'wait', on: deleting }
    const holder = state.transactions.holderOf(channel.tableId, rowId)
    if (holder !== undefined) return { kind: 'wait', on: holder }
    if (!channel.isLive(rowId)) return { kind: 'error', error: concurrentUpdate() }
    if (!state.references.isEmpty && isReferenced(state, plan, write, rowId)) {
      return { kind: 'error', error: concurrentUpdate() }
    }
  }
  return undefined
}

/** Someone came to refer to the row after this transaction looked, and the key does not come back. */
function isReferenced(
  state: StreamingState,
  plan: CommitPlan,
  write: PlannedWrite,
  rowId: number,
): boolean {
  const { tableId } = write.channel
  const reference = state.references.since(tableId, rowId, plan.request.readAt)
  if (reference === undefined) return false
  const key = write.schema.keys.find(({ indexOid }) => indexOid === reference.indexOid)
  if (key === undefined) return false
  const typeNames = schemaColumns(write.schema, key.attnums).map(({ typeName }) => typeName)
  for (const other of plan.writes) {
    if (other.channel.tableId !== tableId) continue
    for (const batch of other.inserts) {
      const columns = keyColumnsOf(other.schema, key, batch)
      for (let row = 0; row < batch.rowCount; row += 1) {
        if (encodeKey(columns, row, typeNames) === reference.key) return false
      }
    }
  }
  return true
}

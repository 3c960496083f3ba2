/** Whether the key that a foreign key names is there and stays: among own inserts, staged rows, and what is committed. */

import { timestampMax } from '#base/timestamp.js'
import { encodeKey } from '#engine/columnar/key.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { CommitPlan, PlannedReference } from '#nodes/streaming/commit-plan.js'
import type { PendingCommit } from '#nodes/streaming/commit-queue.js'
import type { CommitVerdict } from '#nodes/streaming/commit-verdict.js'
import { findRising, keyColumnsOf, schemaColumns } from '#nodes/streaming/key-columns.js'
import { foreignKeyViolation } from '#nodes/streaming/key-error.js'
import type { StreamingState } from '#nodes/streaming/state.js'

export function checkReference(
  state: StreamingState,
  plan: CommitPlan,
  planned: PlannedReference,
): CommitVerdict | undefined {
  const found = findReferenced(state, plan, planned)
  if (found === undefined) {
    const { schema, key, reference } = planned
    const error = foreignKeyViolation(schema, key, reference.constraintName, reference.key)
    return { kind: 'error', error }
  }
  return found.kind === 'row' || found.kind === 'own' ? undefined : found
}

export type Referenced =
  | { readonly kind: 'row'; readonly rowId: number }
  /** The same transaction brings it. */
  | { readonly kind: 'own' }
  | { readonly kind: 'wait'; readonly on: PendingCommit }
  | { readonly kind: 'again' }

/** The row that holds the key. */
export function findReferenced(
  state: StreamingState,
  plan: CommitPlan,
  planned: PlannedReference,
): Referenced | undefined {
  if (isOwnInsert(plan, planned)) return { kind: 'own' }
  let position = 0
  for (const channel of planned.channels) {
    const looked = planned.sealed[position]
    position += 1
    if (looked?.generation !== channel.sealedGeneration) return { kind: 'again' }
    for (const segment of channel.view.growing) {
      if (segment.incarnation !== planned.schema.incarnation) continue
      const found = findGrowing(state, plan, planned, channel, segment)
      if (found !== undefined) return found
    }
    for (const rowId of looked.hits.values()) {
      const found = channel.isLive(rowId) ? judge(plan, channel, rowId) : undefined
      if (found !== undefined) return found
    }
  }
  return undefined
}

function findGrowing(
  state: StreamingState,
  plan: CommitPlan,
  planned: PlannedReference,
  channel: Channel,
  segment: GrowingSegment,
): Referenced | undefined {
  const index = segment.key(planned.key.indexOid)
  if (index === undefined || index.rowCount === 0) return undefined
  let ordinal = index.find(segment.keyColumns(index), planned.columns, 0)
  for (; ordinal >= 0; ordinal = index.older(ordinal)) {
    if (segment.insertedAt(ordinal) === timestampMax) {
      const stageId = segment.pendingStage(ordinal)
      const stage = stageId === undefined ? undefined : state.stages.get(stageId)
      if (stage === undefined) continue
      if (plan.copies.some((copy) => copy.stage === stage)) return { kind: 'own' }
      if (stage.committing !== undefined) return { kind: 'wait', on: stage.committing }
    } else if (segment.deletedAt(ordinal) === timestampMax) {
      const found = judge(plan, channel, segment.rowIdAt(ordinal))
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** A live row: does it stay? */
function judge(plan: CommitPlan, channel: Channel, rowId: number): Referenced | undefined {
  const going = channel.pendingDeletes.get(rowId) ?? channel.pendingTruncate
  if (going !== undefined) return { kind: 'wait', on: going }
  const own = plan.writes.find((write) => write.channel === channel)
  if (own !== undefined && (own.truncate || findRising(own.deletes, rowId) >= 0)) return undefined
  return { kind: 'row', rowId }
}

function isOwnInsert(plan: CommitPlan, planned: PlannedReference): boolean {
  const { key, columns, reference } = planned
  const typeNames = schemaColumns(planned.schema, key.attnums).map(({ typeName }) => typeName)
  const wanted = encodeKey(columns, 0, typeNames)
  return plan.writes.some(
    (write) =>
      write.channel.tableId === reference.tableId &&
      write.inserts.some((batch) => {
        const own = keyColumnsOf(write.schema, key, batch)
        for (let row = 0; row < batch.rowCount; row += 1) {
          if (encodeKey(own, row, typeNames) === wanted) return true
        }
        return false
      }),
  )
}

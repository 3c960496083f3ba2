/**
 * Whether keys are free in a channel, judged in one step against what is applied and what is under way. Rows under way lie
 * in the growing segments too (not yet visible), so its key indexes answer for both:
 *
 *   committed and live   taken, unless the same transaction deletes the row
 *   commit under way     wait for its outcome (milliseconds), then judge again
 *   open stage (COPY)    free: whoever commits first has the key. The stage judges that row again when it commits
 */

import { timestampMax } from '#base/timestamp.js'
import type { Column } from '#engine/columnar/column.js'
import { encodeKey } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { PendingCommit } from '#nodes/streaming/commit-queue.js'
import { findRising, keyTypeNames } from '#nodes/streaming/key-columns.js'
import type { SealedHits } from '#nodes/streaming/sealed-keys.js'
import type { StreamingState } from '#nodes/streaming/state.js'

export type KeyVerdict =
  | { readonly kind: 'taken'; readonly row: number; readonly rowId: number }
  | { readonly kind: 'wait'; readonly on: PendingCommit }

/** @param row of the probe that has the key too */
export type StagedHandler = (
  stageId: number,
  segment: GrowingSegment,
  ordinal: number,
  row: number,
) => void

export interface KeyProbe {
  readonly key: KeyConstraint
  /** Rows of other incarnations do not count: they are going. */
  readonly schema: TableSchema
  /** The key's columns of the rows that want their keys. */
  readonly columns: readonly Column[]
  readonly from: number
  readonly to: number
  readonly sealed: SealedHits
  /** Rows that the same transaction deletes (ascending), or all. */
  readonly deletes: Float64Array
  readonly truncate: boolean
  /** Stages of the same transaction: their rows count as taken. */
  readonly ownStages: ReadonlySet<number>
  /** A row to be passed over: the one that asks. */
  readonly self?: { readonly segment: GrowingSegment; readonly ordinal: number } | undefined
  /** Told of rows of other open stages that have the same key. */
  readonly onStaged?: StagedHandler | undefined
}

/** The first row whose key is not free, or what to wait for. */
export function checkKeys(
  state: StreamingState,
  channel: Channel,
  probe: KeyProbe,
): KeyVerdict | undefined {
  if (channel.pendingTruncate !== undefined) {
    return { kind: 'wait', on: channel.pendingTruncate }
  }
  const held = state.transactions.heldKeys(probe.key.indexOid)
  if (held !== undefined) {
    const holder = findHolder(held, probe)
    if (holder !== undefined) return { kind: 'wait', on: holder }
  }
  for (const segment of channel.view.growing) {
    if (segment.incarnation !== probe.schema.incarnation) continue
    const verdict = checkGrowing(state, channel, segment, probe)
    if (verdict !== undefined) return verdict
  }
  for (const [row, rowId] of probe.sealed) {
    if (row < probe.from || row >= probe.to || !channel.isLive(rowId)) continue
    const verdict = judgeCommitted(channel, probe, row, rowId)
    if (verdict !== undefined) return verdict
  }
  return undefined
}

/** A transaction under way on several log channels that brings one of the keys on another. */
function findHolder(
  held: ReadonlyMap<string, PendingCommit>,
  { schema, key, columns, from, to }: KeyProbe,
): PendingCommit | undefined {
  const typeNames = keyTypeNames(schema, key)
  for (let row = from; row < to; row += 1) {
    const holder = held.get(encodeKey(columns, row, typeNames))
    if (holder !== undefined) return holder
  }
  return undefined
}

function checkGrowing(
  state: StreamingState,
  channel: Channel,
  segment: GrowingSegment,
  probe: KeyProbe,
): KeyVerdict | undefined {
  const index = segment.key(probe.key.indexOid)
  if (index === undefined || index.rowCount === 0) return undefined
  const columns = segment.keyColumns(index)
  for (let row = probe.from; row < probe.to; row += 1) {
    let ordinal = index.find(columns, probe.columns, row)
    while (ordinal >= 0) {
      const committed = segment.insertedAt(ordinal) !== timestampMax
      const verdict = committed
        ? judgeLive(channel, probe, segment, ordinal, row)
        : judgeUncommitted(state, probe, segment, ordinal, row)
      if (verdict !== undefined) return verdict
      // Newest first: below a committed version there is nothing live, unless a stage committed late.
      if (committed && !segment.versionsMixed) break
      ordinal = index.older(ordinal)
    }
  }
  return undefined
}

function judgeLive(
  channel: Channel,
  probe: KeyProbe,
  segment: GrowingSegment,
  ordinal: number,
  row: number,
): KeyVerdict | undefined {
  if (segment.deletedAt(ordinal) !== timestampMax) return undefined
  return judgeCommitted(channel, probe, row, segment.rowIdAt(ordinal))
}

function judgeCommitted(
  channel: Channel,
  probe: KeyProbe,
  row: number,
  rowId: number,
): KeyVerdict | undefined {
  const deleting = channel.pendingDeletes.get(rowId)
  if (deleting !== undefined) return { kind: 'wait', on: deleting }
  if (probe.truncate || findRising(probe.deletes, rowId) >= 0) return undefined
  return { kind: 'taken', row, rowId }
}

function judgeUncommitted(
  state: StreamingState,
  probe: KeyProbe,
  segment: GrowingSegment,
  ordinal: number,
  row: number,
): KeyVerdict | undefined {
  const { self } = probe
  if (self !== undefined && self.segment === segment && self.ordinal === ordinal) return undefined
  const stageId = segment.pendingStage(ordinal)
  if (stageId === undefined) return undefined
  if (probe.ownStages.has(stageId)) return { kind: 'taken', row, rowId: segment.rowIdAt(ordinal) }
  const stage = state.stages.get(stageId)
  if (stage === undefined) return undefined
  if (stage.committing !== undefined) return { kind: 'wait', on: stage.committing }
  probe.onStaged?.(stageId, segment, ordinal, row)
  return undefined
}

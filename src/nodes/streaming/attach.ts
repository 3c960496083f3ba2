/**
 * Segments that were not made here become those of a shard that has never had a row: restore.
 *
 * 1. Their row ids are taken out of what is given out. 2. The oracle is past every timestamp in them (TS-1). 3. The query node has
 * them. 4. The coordinator records them with the channel's checkpoint; 5. in one step the view has them (SEG-2).
 *
 * Crash: before 4 nothing happened, the objects are garbage; after 4 recovery finds them. Retry: done before, it does nothing.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import { rowIdsPerShard } from '#engine/columnar/row-id.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { channelCheckpoint, rowIdCheckpoint } from '#nodes/streaming/checkpoint-names.js'
import type { AttachedShard } from '#nodes/streaming/contract.js'
import { neededPosition, unappliedSince } from '#nodes/streaming/needed-position.js'
import { readableSince } from '#nodes/streaming/readable-since.js'
import { recordSegments } from '#nodes/streaming/record-segments.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import { channelOf, checkUsable, type StreamingState, tableOf } from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/** @throws 55000 when the shard has, or has had, rows of its own */
export async function attach(
  state: StreamingState,
  { tableId, shard, nextRowId, readableFrom, segments }: AttachedShard,
  context: Context,
): Promise<void> {
  await state.switching.run(async () => {
    checkUsable(state)
    const channel = channelOf(state, tableId, shard)
    if (isAttached(channel, segments)) return
    takeRowIds(state, channel, nextRowId)
    const { schema } = tableOf(state, tableId)
    const times = segments.map(({ maxTimestamp }) => maxTimestamp)
    const newest = Math.max(readableFrom, ...times) as Timestamp
    await state.coordinator.timestamp(newest)
    const entries: SealedEntry[] = []
    for (const manifest of segments) {
      const deletes = new SealedDeletes()
      const { rowIds, deleted } = await state.dataNode.readDeletes(manifest, context)
      deletes.addSaved(rowIds, deleted)
      await state.queryNode.load(manifest, schema, 'when read')
      entries.push({
        segmentId: manifest.segmentId,
        manifest,
        deletes,
        until: timestampMax,
        untilPosition: Number.POSITIVE_INFINITY,
      })
    }
    const checkpoint = Math.min(neededPosition(channel), unappliedSince(state, channel))
    const checkpoints = new Map(readableSince(channel, readableFrom))
    checkpoints.set(rowIdCheckpoint(channel.name), channel.nextRowId)
    if (checkpoint > channel.checkpoint) {
      checkpoints.set(channelCheckpoint(channel.name), checkpoint)
      channel.checkpoint = checkpoint
    }
    await recordSegments(state, { add: segments, remove: [], checkpoints })
    // The log does not have these rows.
    await state.coordinator.secure()
    channel.savedRowId = channel.nextRowId
    const { growing, sealed } = channel.view
    const next = [...sealed, ...entries].sort((a, b) => a.manifest.minRowId - b.manifest.minRowId)
    // Keys are looked up as of the newest commit here.
    state.commits.noteApplied(newest)
    channel.switchView(growing, next)
  })
}

function isAttached(channel: Channel, segments: readonly SegmentManifest[]): boolean {
  const present = new Set(channel.view.sealed.map(({ segmentId }) => segmentId))
  return segments.length > 0 && segments.every(({ segmentId }) => present.has(segmentId))
}

/** In one step with the look: rows that come from now on are behind. */
function takeRowIds(state: StreamingState, channel: Channel, nextRowId: number): void {
  if (channel.nextRowId !== channel.shard * rowIdsPerShard + 1) {
    throw new DatabaseError(
      SqlState.objectNotInPrerequisiteState,
      `relation "${tableOf(state, channel.tableId).schema.name}" has, or has had, rows`,
      { hint: 'Rows are restored into tables that nobody has written to.' },
    )
  }
  channel.nextRowId = Math.max(channel.nextRowId, nextRowId)
}

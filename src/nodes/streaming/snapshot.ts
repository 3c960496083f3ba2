/**
 * What a backup copies: the sealed segments that hold everything visible at a timestamp, once nothing of that grows any more.
 *
 * 1. Wait until the timestamp is readable: prepared transactions of before are decided and applied.
 * 2. Per channel: seal and flush until no growing segment has a row committed at or before it. An open COPY that shares a segment
 *    with such rows is waited for.
 * 3. In one step with regard to merges: write deletes down, take the manifests.
 *
 * A manifest may have more than was there at the timestamp: rows inserted and deleted after it. Whoever copies leaves these out.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { type Channel, growingIsEmpty } from '#nodes/streaming/channel.js'
import type { ChannelSnapshot } from '#nodes/streaming/contract.js'
import { flushClosed } from '#nodes/streaming/flush.js'
import { waitUntilReadable } from '#nodes/streaming/read-view.js'
import { allChannels, checkUsable, horizonOf, type StreamingState } from '#nodes/streaming/state.js'
import { writeDeletesDown } from '#nodes/streaming/switch-manifest.js'

/** Between looks at a segment that rows of an open COPY keep from being flushed. */
const lookAgainMs = 100

/** From here on nothing is dropped that a read at this time or later sees, for so long. VACUUM FULL does not care. */
export function keepHistory(state: StreamingState, forMs: number): void {
  const untilMs = Math.max(state.history.untilMs, state.runtime.monotonicMs() + forMs)
  state.history = { horizon: horizonOf(state), untilMs }
}

/** @throws 72000 when rows of that time are gone already */
export async function snapshot(
  state: StreamingState,
  at: Timestamp,
  context: Context,
): Promise<readonly ChannelSnapshot[]> {
  await waitUntilReadable(state, at, context)
  const snapshots: ChannelSnapshot[] = []
  for (const channel of allChannels(state)) {
    if (channel.dropped) continue
    await flushUntil(state, channel, at, context)
    if (channel.dropped) continue
    snapshots.push(await snapshotChannel(state, channel, at, context))
  }
  return snapshots
}

async function flushUntil(
  state: StreamingState,
  channel: Channel,
  at: Timestamp,
  context: Context,
): Promise<void> {
  while (!channel.dropped && !growingIsEmpty(channel.view, at)) {
    checkCancelled(context)
    checkUsable(state)
    for (const segment of channel.view.growing) if (segment.minInserted <= at) segment.closed = true
    await flushClosed(state, channel, context)
    if (growingIsEmpty(channel.view, at)) return
    await state.runtime.sleep(lookAgainMs, context.signal)
  }
}

async function snapshotChannel(
  state: StreamingState,
  channel: Channel,
  at: Timestamp,
  context: Context,
): Promise<ChannelSnapshot> {
  return await state.switching.run(async () => {
    const segments: SegmentManifest[] = []
    for (const entry of channel.view.sealed) {
      if (entry.until <= at || entry.manifest.minTimestamp > at) continue
      await writeDeletesDown(state, channel, entry, context)
      segments.push(entry.manifest)
    }
    if (at < horizonOf(state) || at < channel.readableFrom) {
      throw new DatabaseError(SqlState.snapshotTooOld, 'snapshot too old', {
        detail: 'Rows that the backup must have were removed meanwhile.',
        hint: 'Try again; VACUUM FULL while a backup begins is what does this.',
      })
    }
    const { tableId, shard, nextRowId } = channel
    return { tableId, shard, nextRowId, segments }
  })
}

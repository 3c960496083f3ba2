/**
 * Moves the timestamp from which on a channel can be read, before it is recorded together with what takes the rows away. Also where
 * these were deleted longer ago than the retention: that is by this node's clock; whoever reads has judged by another, and
 * earlier. What is recorded never falls, so it is never less than what an earlier change, of which nobody knows whether it was
 * recorded, has moved it to.
 */
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { readableCheckpoint } from '#nodes/streaming/checkpoint-names.js'

const nothing: ReadonlyMap<string, number> = new Map()

/**
 * Inside state.switching.
 * @param from when the last of the rows that go was deleted; 0: none goes
 * @returns checkpoints to be recorded with the change
 */
export function readableSince(channel: Channel, from: Timestamp): ReadonlyMap<string, number> {
  if (from === timestampZero) return nothing
  if (from > channel.readableFrom) channel.readableFrom = from
  return new Map([[readableCheckpoint(channel.name), channel.readableFrom]])
}

/**
 * Moves the timestamp from which on a channel can be read: recorded together with what takes the rows away. Also where these
 * were deleted longer ago than the retention: that is by this node's clock; whoever reads has judged by another, and earlier.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { readableCheckpoint } from '#nodes/streaming/checkpoint-names.js'

export interface ReadableSince {
  /** To be recorded with the change. */
  readonly checkpoints: ReadonlyMap<string, number>
  /** Once it is recorded, in the step that switches the view. */
  apply(): void
}

export function readableSince(channel: Channel, from: Timestamp): ReadableSince {
  const checkpoints = new Map<string, number>()
  if (from > channel.readableFrom) checkpoints.set(readableCheckpoint(channel.name), from)
  return {
    checkpoints,
    apply() {
      if (from > channel.readableFrom) channel.readableFrom = from
    },
  }
}

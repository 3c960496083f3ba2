import { type Timestamp, timestampMax } from '#base/timestamp.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { StreamingState } from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/**
 * From where on the log is needed for the channel: rows that are in no sealed segment, deletes in no deletes object,
 * truncations whose segments are still on record, prepared transactions that are not decided. +Infinity: nothing.
 * @param except a growing segment that is about to be sealed
 */
export function neededPosition(channel: Channel, except?: GrowingSegment): number {
  let needed = Number.POSITIVE_INFINITY
  for (const segment of channel.view.growing) {
    if (segment !== except && segment.rowCount > 0) needed = Math.min(needed, segment.firstPosition)
  }
  for (const entry of channel.view.sealed) {
    needed = Math.min(needed, entry.deletes.unsavedSince, entry.untilPosition)
  }
  for (const { position } of channel.undecided) needed = Math.min(needed, position)
  return needed
}

/**
 * At or below the log position of every delete that is not applied to the channel yet: also of transactions that were prepared
 * long ago and are decided later, which come with the position of their prepare record.
 */
export function unappliedSince(state: StreamingState, channel: Channel): number {
  let since = state.log.settledBound
  for (const { position } of channel.undecided) since = Math.min(since, position)
  return since
}

export function isTruncated(entry: SealedEntry): boolean {
  return entry.until !== timestampMax
}

/** Truncated so long ago that it may go. */
export function isUnreadable(entry: SealedEntry, horizon: Timestamp): boolean {
  return entry.until <= horizon
}

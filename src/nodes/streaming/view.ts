/**
 * The view of a channel: which segments a read visits. Immutable; a change makes the next one in one step, so that a row
 * version is in exactly one segment of a view (SEG-2). A read keeps the view it began with; what a view lost is disposed
 * of when nobody reads that view or an older one.
 */
import type { Timestamp } from '#base/timestamp.js'
import { timestampMax } from '#base/timestamp.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'

/** A flushed segment of the channel. The manifest moves on when an index or a deletes object is written. */
export interface SealedEntry {
  readonly segmentId: number
  manifest: SegmentManifest
  readonly deletes: SealedDeletes
  /** Truncated at: reads from there on pass it over. */
  until: Timestamp
  /** Log position of the truncation. */
  untilPosition: number
  /** The index that is being built, until it is in the manifest. */
  indexBuild?: { readonly indexOid: number; rowsDone: number } | undefined
}

export interface View {
  readonly growing: readonly GrowingSegment[]
  readonly sealed: readonly SealedEntry[]
  /** Of `sealed`, in its order. */
  readonly sealedIds: readonly number[]
  readers: number
  /** Disposes of what the next view lacks; set when it is replaced. */
  onUnread: (() => void) | undefined
}

export function createView(
  growing: readonly GrowingSegment[],
  sealed: readonly SealedEntry[],
): View {
  return {
    growing,
    sealed,
    sealedIds: sealed.map((entry) => entry.segmentId),
    readers: 0,
    onUnread: undefined,
  }
}

/** Ids of the sealed segments that a read at the timestamp visits. */
export function sealedIdsAt(view: View, readAt: Timestamp): readonly number[] {
  for (const entry of view.sealed) {
    if (entry.until !== timestampMax) {
      return view.sealed.filter(({ until }) => until > readAt).map(({ segmentId }) => segmentId)
    }
  }
  return view.sealedIds
}

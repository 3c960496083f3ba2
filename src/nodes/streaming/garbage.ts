/** What a streaming node knows to be of no use in the object store, or suspects to be: see collect.ts. */
import type { SegmentIdentity } from '#engine/segment/object-names.js'
import type { Channel } from '#nodes/streaming/channel.js'
import {
  channelCheckpoint,
  readableCheckpoint,
  rowIdCheckpoint,
} from '#nodes/streaming/checkpoint-names.js'

export class Garbage {
  /** Segments that this node has given up and nobody here reads. */
  readonly segments = new Map<number, SegmentIdentity>()
  /** Objects that no manifest named, and when (monotonic ms) that was seen first. */
  readonly unnamed = new Map<string, number>()
  nextScanMs = 0
  readonly orphans = new Orphans()
  /** Segments on their way into `segments`. */
  readonly releasing = new Set<Promise<void>>()
}

/** What may be on record of tables that are dropped: see orphans.ts. */
export class Orphans {
  readonly segmentIds = new Set<number>()
  readonly checkpoints = new Set<string>()

  /** Also what grows: it may have been recorded without an answer. */
  addChannel({ name, view: { growing, sealed } }: Channel): void {
    for (const { segmentId } of [...growing, ...sealed]) this.segmentIds.add(segmentId)
    this.checkpoints.add(channelCheckpoint(name))
    this.checkpoints.add(rowIdCheckpoint(name))
    this.checkpoints.add(readableCheckpoint(name))
  }
}

/** What a streaming node knows to be of no use in the object store, or suspects to be: see collect.ts. */
import type { SegmentIdentity } from '#engine/segment/object-names.js'
import { Orphans } from '#nodes/streaming/orphans.js'

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

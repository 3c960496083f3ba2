/**
 * A segment that reads may name: its manifest, and what must be kept of it while it is not in memory. Which of them are in
 * memory is residency.ts' business.
 */
import { Gate } from '#base/async/gate.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { KeyFilter } from '#engine/segment/key-filter.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { SegmentDeletes } from '#nodes/query/segment-deletes.js'

export class KnownSegment {
  readonly segmentId: number
  manifest: SegmentManifest
  schema: TableSchema
  readonly deletes = new SegmentDeletes()
  /** In the manifest's deletes object. Undefined: nobody has looked. */
  savedDeletes: number | undefined
  /** Whoever reads the segment, in memory or not, is inside. */
  readonly gate = new Gate()
  /** By index OID, of unique keys that were looked up while it was in memory. */
  readonly keyFilters = new Map<number, KeyFilter>()
  /** Names of objects that were compared with their checksums in this process: not again when they come back. */
  readonly verified = new Set<string>()

  /**
   * Index objects that are used before they were compared: after a start the first read does not wait until gigabytes were
   * read. Bad bytes cannot crash a search, distances come from the data; what suffers until then is recall.
   */
  readonly trusted = new Set<string>()
  /** Names of index objects that are damaged: searched without. */
  readonly damaged = new Set<string>()
  /** A manifest of before this process: its objects were not written a moment ago. */
  readonly isOld: boolean

  constructor(manifest: SegmentManifest, schema: TableSchema, isOld = false) {
    this.isOld = isOld
    this.segmentId = manifest.segmentId
    this.manifest = manifest
    this.schema = schema
  }
}

/** What the segment takes when it is loaded: its files, when every page was touched, and what is made beside them. */
export function estimateBytes({ data, indexes, rowCount }: SegmentManifest): number {
  const indexBytes = indexes.reduce((sum, { object }) => sum + object.bytes, 0)
  return data.bytes + indexBytes + rowCount * heapBytesPerRow
}

/** Timestamps of deletes, and bitsets of the last 8 filters. */
export const heapBytesPerRow = 8 + 1

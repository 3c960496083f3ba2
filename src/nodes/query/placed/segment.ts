/** A segment that is to be searchable: where it is, and what was deleted of it since it was written. */
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Replica, Wanted } from '#nodes/query/placed/replica.js'

/** Rows of one message. */
const chunkRowCountMax = 65_536

export class PlacedSegment implements Wanted {
  readonly segmentId: number
  manifest: SegmentManifest
  schema: TableSchema
  /** How it was last asked to be loaded. */
  when: 'now' | 'when read' = 'now'
  readonly replicas = new Map<string, Replica>()
  /** Row ids and delete timestamps in the order in which they came; a row comes once. */
  readonly #rowIds: number[] = []
  readonly #deleted: Timestamp[] = []
  readonly #known = new Set<number>()

  constructor(manifest: SegmentManifest, schema: TableSchema) {
    this.segmentId = manifest.segmentId
    this.manifest = manifest
    this.schema = schema
  }

  get deleteCount(): number {
    return this.#rowIds.length
  }

  /** An owner that was opened again sends all it reads in the log: an earlier delete of a row stands. */
  addDeletes(rowIds: Float64Array, at: Timestamp): void {
    for (const rowId of rowIds) {
      if (this.#known.has(rowId)) continue
      this.#known.add(rowId)
      this.#rowIds.push(rowId)
      this.#deleted.push(at)
    }
  }

  /** Deletes of one timestamp, row ids ascending, and how many of the list they are. */
  deletesFrom(from: number): {
    readonly rowIds: Float64Array
    readonly at: Timestamp
    count: number
  } {
    const at = this.#deleted[from] ?? (0 as Timestamp)
    let to = from
    while (to < this.#rowIds.length && to - from < chunkRowCountMax && this.#deleted[to] === at) {
      to += 1
    }
    const rowIds = Float64Array.from(this.#rowIds.slice(from, to)).sort()
    return { rowIds, at, count: to - from }
  }
}

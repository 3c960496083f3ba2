/**
 * The query node: makes sealed segments searchable. Loads their objects (mapped from a local path), applies deletes, and
 * answers fragments over the sealed segments that a view names.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type {
  AggregateFragment,
  AggregatePart,
  ScanFragment,
  ScanPart,
  ScanSummary,
  SearchFragment,
  SearchPart,
} from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'

export interface QueryNode {
  /**
   * Makes the segment searchable; with a newer manifest of a loaded one (index built) switches to it in one step. Which of the
   * segments are in memory is this node's business: reads bring back what is not.
   * @param when `now` (the default): in memory when it resolves, if there is room; `when read`: nothing is waited for
   */
  load(manifest: SegmentManifest, schema: TableSchema, when?: 'now' | 'when read'): Promise<void>
  /** Nobody finds the segment from now on; resolves when the reads inside are done and its memory is given back. */
  release(segmentId: number): Promise<void>
  /** Columns or keys changed: what older segments lack reads as ColumnSchema.missing. */
  putSchema(schema: TableSchema): void
  /**
   * Marks rows (ascending row ids) of a loaded segment, or one being loaded, deleted at a timestamp. An earlier delete of a
   * row stands; rows that the segment does not hold are ignored. @throws 55000 when the segment is neither
   */
  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void
  /**
   * Reads name their segments; all are entered at once and stay as they are until the read is done, whatever is switched or
   * released meanwhile. If they take more memory than the node may use, they are visited some at a time.
   * @throws 55000 when one is not loaded
   */
  search(
    segmentIds: readonly number[],
    fragment: SearchFragment,
    context: Context,
  ): Promise<SearchPart>
  scan(
    segmentIds: readonly number[],
    fragment: ScanFragment,
    context: Context,
  ): AsyncGenerator<ScanPart, ScanSummary>
  aggregate(
    segmentIds: readonly number[],
    fragment: AggregateFragment,
    context: Context,
  ): Promise<AggregatePart>
  /** What is in memory, and what it may be. */
  memory(): QueryMemory
  /** Where the segment is, if this stands for several nodes. */
  holders?(segmentId: number): readonly SegmentHolder[]
  stop(): Promise<void>
}

export interface SegmentHolder {
  readonly nodeId: string
  /** 'ready': answers; 'loading': it shall; 'leaving': it answers no more, and is letting go of it. */
  readonly state: 'ready' | 'loading' | 'leaving'
}

export interface QueryMemory {
  readonly budgetBytes: number
  /** Mapped files in full, whether or not every page of them was touched, and what is made beside them. */
  readonly usedBytes: number
  readonly segmentCount: number
  /** Segments in memory. */
  readonly residentCount: number
  /** Reads that wait for room. */
  readonly waitingCount: number
  /** Since the start. */
  readonly loads: number
  readonly evictions: number
}

/**
 * A query node that may be in another process: what happens at once in the same process takes a message there. It stands for
 * one life of that process: what is sent to a restarted one must fail with 55000 or be unreachable, since it has forgotten
 * segments, and deletes of segments that others have loaded into it again.
 */
export interface QueryReplica
  extends Omit<QueryNode, 'putSchema' | 'applyDeletes' | 'memory' | 'holders'> {
  putSchema(schema: TableSchema): void | Promise<void>
  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void | Promise<void>
}

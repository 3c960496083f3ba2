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
  /** Makes the segment searchable; with a newer manifest of a loaded one (index built) switches to it in one step. */
  load(manifest: SegmentManifest, schema: TableSchema): Promise<void>
  release(segmentId: number): Promise<void>
  /** Columns or keys changed: what older segments lack reads as ColumnSchema.missing. */
  putSchema(schema: TableSchema): void
  /** Marks rows (ascending row ids) of a loaded segment deleted at a timestamp. */
  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void
  /** Row ids (ascending) of the given ones that are live in the segment at `readAt`. */
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
  stop(): Promise<void>
}

/**
 * The data node: writes sealed segments to object storage, builds their indexes, merges them. Jobs are claimed once and
 * safe to repeat: objects are immutable and only the manifest that the coordinator accepts makes them count.
 */
import type { Context } from '#base/context.js'
import type { TableSchema, VectorIndexSchema } from '#engine/columnar/schema.js'
import type { FinishedGraph } from '#engine/segment/growing-interim.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SegmentIdentity } from '#engine/segment/object-names.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'

export interface DataNode {
  /**
   * Writes the rows as an Arrow IPC object and its statistics; returns the manifest (not yet accepted by anyone).
   * @param graphs indexes over exactly these rows, to be saved with them; the caller closes them
   */
  flush(
    segmentId: number,
    schema: TableSchema,
    rows: SealedRows,
    context: Context,
    graphs?: readonly FinishedGraph[],
  ): Promise<SegmentManifest>
  /** Builds the index over the flushed segment; returns the manifest that names it. */
  buildIndex(
    manifest: SegmentManifest,
    schema: TableSchema,
    index: VectorIndexSchema,
    onProgress: (rowsDone: number) => void,
    context: Context,
  ): Promise<SegmentManifest>
  /** Merges flushed segments without rows deleted at or before `horizon` into one new segment. */
  compact(
    segmentId: number,
    schema: TableSchema,
    inputs: readonly { readonly manifest: SegmentManifest; readonly deletedRowIds: Float64Array }[],
    context: Context,
  ): Promise<SegmentManifest>
  /**
   * Writes what is deleted of a flushed segment (all of it: ascending row ids and their delete timestamps) as a deletes
   * object; returns the manifest that names it instead of an older one.
   */
  writeDeletes(
    manifest: SegmentManifest,
    deletes: { readonly rowIds: Float64Array; readonly deleted: Float64Array },
    context: Context,
  ): Promise<SegmentManifest>
  /** What the manifest's deletes object holds; empty arrays when it names none. */
  readDeletes(
    manifest: SegmentManifest,
    context: Context,
  ): Promise<{ readonly rowIds: Float64Array; readonly deleted: Float64Array }>
  /** Names of the objects of all segments, for the collector. */
  listObjects(context: Context): AsyncIterable<string>
  /** Idempotent. The caller knows that nobody needs them (OBJ-1). */
  removeObjects(names: readonly string[], context: Context): Promise<void>
  /** All objects of the segment. */
  removeSegment(segment: SegmentIdentity, context: Context): Promise<void>
  stop(): Promise<void>
}

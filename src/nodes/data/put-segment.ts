/**
 * Writes a segment's objects. Order: data, deletes, then the manifest's copy; so whoever finds a manifest finds what it
 * names (OBJ-3), and a crash in between leaves objects that nothing names, which the collector removes.
 */
import type { Context } from '#base/context.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { checksumOf } from '#engine/segment/checksum.js'
import type { IndexReference, ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { dataName, deletesName, manifestName } from '#engine/segment/object-names.js'
import { type DeletedRows, planDeletesFile, type SealedPlan } from '#engine/segment/write-sealed.js'
import { type ObjectWriter, writeObject } from '#nodes/data/write-object.js'

export async function putSegment(
  writer: ObjectWriter,
  segment: {
    readonly segmentId: number
    readonly shard: number
    readonly schema: TableSchema
    /** Objects that are there already. */
    readonly indexes?: readonly IndexReference[]
  },
  plan: SealedPlan,
  deletes: DeletedRows,
  context: Context,
): Promise<SegmentManifest> {
  const { segmentId, shard, schema } = segment
  const identity = { segmentId, tableId: schema.tableId, incarnation: schema.incarnation }
  const data = await writeObject(
    writer,
    plan.data,
    (checksum) => dataName(identity, writer.unique(), checksum),
    context,
  )
  const manifest: SegmentManifest = {
    formatVersion: 1,
    ...identity,
    shard,
    rowCount: plan.rowCount,
    minRowId: plan.minRowId,
    maxRowId: plan.maxRowId,
    minTimestamp: plan.minTimestamp,
    maxTimestamp: plan.maxTimestamp,
    data,
    deletes: await putDeletes(writer, identity, deletes, context),
    indexes: segment.indexes ?? [],
    columns: plan.columns,
  }
  await putManifest(writer, manifest)
  return manifest
}

/** undefined when nothing is deleted. */
export async function putDeletes(
  writer: ObjectWriter,
  segment: Pick<SegmentManifest, 'tableId' | 'incarnation' | 'segmentId'>,
  deletes: DeletedRows,
  context: Context,
): Promise<ObjectReference | undefined> {
  if (deletes.rowIds.length === 0) return undefined
  const plan = planDeletesFile(segment.segmentId, deletes)
  return await writeObject(
    writer,
    plan,
    (checksum) => deletesName(segment, writer.unique(), checksum),
    context,
  )
}

/** The copy beside the objects: what a reader without the meta store finds. */
export async function putManifest(writer: ObjectWriter, manifest: SegmentManifest): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 2)}\n`)
  await writer.objects.put(manifestName(manifest, checksumOf(bytes)), bytes)
}

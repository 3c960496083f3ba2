/**
 * Makes a segment searchable.
 *
 * 1. Map the data object, read the deletes, load the index objects; nothing is visible yet. 2. In one step: deletes in,
 * indexes attached, segment listed. A newer manifest of a segment that is here: the same, but only what is new is loaded,
 * and readers inside go on with what they have.
 */
import type { TableSchema } from '#engine/columnar/schema.js'
import type { Native } from '#engine/index/native.js'
import {
  loadDeletes,
  loadSealedData,
  localPath,
  type SegmentLoader,
} from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { DeletedRows } from '#engine/segment/write-sealed.js'
import { type LoadedIndex, LoadedSegment } from '#nodes/query/loaded-segment.js'

export interface Loading {
  readonly native: Native
  readonly loader: SegmentLoader
}

export async function loadSegment(
  loading: Loading,
  manifest: SegmentManifest,
  schema: TableSchema,
): Promise<LoadedSegment> {
  const { native, loader } = loading
  const data = await loadSealedData(loader, manifest)
  const deletes = await loadDeletes(loader, manifest)
  const indexes = await loadIndexes(loading, manifest, new Map())
  const segment = new LoadedSegment(manifest, schema, data, native.createSegment(), loader.pause)
  // From here on no await: a failure cannot leave handles behind.
  segment.applyDeletes(deletes.rowIds, (position) => deletes.deleted[position] ?? 0)
  prepareIndexed(segment, indexes)
  segment.switchIndexes(indexes)
  return segment
}

/** The segment's data object is the same. */
export async function switchManifest(
  loading: Loading,
  segment: LoadedSegment,
  manifest: SegmentManifest,
  schema: TableSchema,
): Promise<void> {
  const deletes: DeletedRows = await loadDeletes(loading.loader, manifest)
  const indexes = await loadIndexes(loading, manifest, segment.indexes)
  segment.applyDeletes(deletes.rowIds, (position) => deletes.deleted[position] ?? 0)
  segment.putSchema(schema)
  prepareIndexed(segment, indexes)
  segment.switchIndexes(indexes)
  segment.manifest = manifest
}

function prepareIndexed(segment: LoadedSegment, indexes: ReadonlyMap<number, LoadedIndex>): void {
  segment.prepare([...indexes.values()].map(({ attnum }) => attnum))
}

/** Those of `present` that the manifest still names are taken over. */
async function loadIndexes(
  { native, loader }: Loading,
  { indexes }: SegmentManifest,
  present: ReadonlyMap<number, LoadedIndex>,
): Promise<ReadonlyMap<number, LoadedIndex>> {
  const loaded = new Map<number, LoadedIndex>()
  try {
    for (const { indexOid, attnum, object } of indexes) {
      const kept = present.get(indexOid)
      if (kept?.objectName === object.name) {
        loaded.set(indexOid, kept)
        continue
      }
      const index = await native.loadHnsw(await localPath(loader, object))
      loaded.set(indexOid, { attnum, objectName: object.name, index })
    }
    return loaded
  } catch (error) {
    for (const [indexOid, { index }] of loaded) {
      if (present.get(indexOid)?.index !== index) index.close()
    }
    throw error
  }
}

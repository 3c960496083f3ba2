/**
 * Brings a segment into memory.
 *
 * 1. Map the data object, read the deletes, load the index objects; nothing is visible yet. 2. In one step: deletes in,
 * indexes attached. If the manifest moved on meanwhile (an index was built), what is new is loaded too. A newer manifest of a
 * segment that is here: the same, but only what is new is loaded, and readers inside go on with what they have.
 *
 * Index files are compared with their checksums the first time only: an evicted segment comes back by mapping. Those of before the
 * start are compared when they are in use already (verify-indexes.ts).
 */
import type { Native } from '#engine/index/native.js'
import {
  loadDeletes,
  loadSealedData,
  localPath,
  type SegmentLoader,
} from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { DeletedRows } from '#engine/segment/write-sealed.js'
import type { KnownSegment } from '#nodes/query/known-segment.js'
import { type LoadedIndex, LoadedSegment } from '#nodes/query/loaded-segment.js'

export interface Loading {
  readonly native: Native
  readonly loader: SegmentLoader
}

export async function loadSegment(loading: Loading, known: KnownSegment): Promise<LoadedSegment> {
  const { native, loader } = loading
  const { manifest, verified } = known
  const verifyChecksums = loader.verifyChecksums && !verified.has(manifest.data.name)
  const data = await loadSealedData({ ...loader, verifyChecksums }, manifest)
  verified.add(manifest.data.name)
  const deletes = await loadDeletes(loader, manifest)
  const indexes = await loadIndexes(loading, known, manifest, new Map())
  // From here on no await: a failure cannot leave handles behind.
  const segment = new LoadedSegment(
    manifest,
    known.schema,
    data,
    native,
    loader.pause,
    known.keyFilters,
  )
  segment.applyDeletes(deletes.rowIds, (position) => deletes.deleted[position] ?? 0)
  attach(segment, manifest, indexes)
  return segment
}

/** In the step in which readers find it: what came while it was being loaded. A promise: first a newer manifest. */
export function finishLoading(
  loading: Loading,
  known: KnownSegment,
  segment: LoadedSegment,
): Promise<void> | undefined {
  if (segment.manifest !== known.manifest) return follow(loading, known, segment)
  const { rowIds, deleted } = known.deletes.all()
  segment.applyDeletes(rowIds, (position) => deleted[position] ?? 0)
  segment.putSchema(known.schema)
  return undefined
}

/** 0 when the object is gone: only a manifest that was replaced loses what it names. */
export async function countDeletes(
  loader: SegmentLoader,
  manifest: SegmentManifest,
): Promise<number> {
  if (manifest.deletes === undefined) return 0
  if ((await loader.objects.get(manifest.deletes.name)) === undefined) return 0
  return (await loadDeletes(loader, manifest)).rowIds.length
}

async function follow(
  loading: Loading,
  known: KnownSegment,
  segment: LoadedSegment,
): Promise<void> {
  const { manifest } = known
  const deletes = await loadDeletes(loading.loader, manifest)
  await switchManifest(loading, known, segment, manifest, deletes)
}

/** The segment's data object is the same. @param deletes of the manifest */
export async function switchManifest(
  loading: Loading,
  known: KnownSegment,
  segment: LoadedSegment,
  manifest: SegmentManifest,
  deletes: DeletedRows,
): Promise<void> {
  const indexes = await loadIndexes(loading, known, manifest, segment.indexes)
  segment.applyDeletes(deletes.rowIds, (position) => deletes.deleted[position] ?? 0)
  segment.putSchema(known.schema)
  attach(segment, manifest, indexes)
}

function attach(
  segment: LoadedSegment,
  manifest: SegmentManifest,
  indexes: ReadonlyMap<number, LoadedIndex>,
): void {
  segment.prepare([...indexes.values()].map(({ attnum }) => attnum))
  segment.switchIndexes(indexes)
  segment.manifest = manifest
}

/** Those of `present` that the manifest still names are taken over. */
async function loadIndexes(
  { native, loader }: Loading,
  { verified, trusted, damaged, isOld }: KnownSegment,
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
      if (damaged.has(object.name)) continue
      const isTrusted = verified.has(object.name) || isOld
      const index = await native.loadHnsw(await localPath(loader, object), !isTrusted)
      if (isTrusted && !verified.has(object.name)) trusted.add(object.name)
      else verified.add(object.name)
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

/** A sealed segment's objects as rows in memory, shared by the query node (to search) and the data node (to merge). */
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import type { Native } from '#engine/index/native.js'
import { checksumSliced } from '#engine/segment/checksum.js'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { openDeletes, openSealedData, type SealedData } from '#engine/segment/read-sealed.js'
import type { DeletedRows } from '#engine/segment/write-sealed.js'

/** What is needed of an object store: see storage/objects. */
export interface ObjectSource {
  localPath(name: string): Promise<string | undefined>
  get(name: string): Promise<Uint8Array | undefined>
}

export interface SegmentLoader {
  readonly native: Pick<Native, 'mapFile'>
  readonly objects: ObjectSource
  /** Awaited between slices of work. */
  readonly pause: () => Promise<void>
  /** Whether data files are read through and compared with their checksum before they are used. */
  readonly verifyChecksums: boolean
}

/** Maps the data object. @throws StoreError when it is missing, XX001 when it is damaged */
export async function loadSealedData(
  loader: SegmentLoader,
  manifest: SegmentManifest,
): Promise<SealedData> {
  const path = await localPath(loader, manifest.data)
  const bytes = new Uint8Array(loader.native.mapFile(path))
  if (loader.verifyChecksums) await verify(bytes, manifest.data, loader.pause)
  else if (bytes.byteLength !== manifest.data.bytes) throw damaged(manifest.data)
  const data = openSealedData(bytes)
  if (data.rowCount !== manifest.rowCount) throw damaged(manifest.data)
  return data
}

/** Deletes are small: always read and compared. Empty when the manifest names none. */
export async function loadDeletes(
  { objects, pause }: Pick<SegmentLoader, 'objects' | 'pause'>,
  { deletes }: Pick<SegmentManifest, 'deletes'>,
): Promise<DeletedRows> {
  if (deletes === undefined) return { rowIds: new Float64Array(0), deleted: new Float64Array(0) }
  const bytes = await objects.get(deletes.name)
  if (bytes === undefined) throw missing(deletes)
  await verify(bytes, deletes, pause)
  // Views need a multiple of 8, which a store's answer need not have.
  return openDeletes(bytes.byteOffset % 8 === 0 ? bytes : bytes.slice())
}

export async function localPath(
  { objects }: Pick<SegmentLoader, 'objects'>,
  object: ObjectReference,
): Promise<string> {
  const path = await objects.localPath(object.name)
  if (path === undefined) throw missing(object)
  return path
}

async function verify(
  bytes: Uint8Array,
  object: ObjectReference,
  pause: () => Promise<void>,
): Promise<void> {
  if (bytes.byteLength !== object.bytes) throw damaged(object)
  if ((await checksumSliced(bytes, pause)) !== object.checksum) throw damaged(object)
}

function missing({ name }: ObjectReference): StoreError {
  return new StoreError('determinate', `object "${name}" does not exist`)
}

function damaged({ name }: ObjectReference): DatabaseError {
  return new DatabaseError(
    SqlState.dataCorrupted,
    `object "${name}" is corrupted: size or checksum is another than recorded`,
  )
}

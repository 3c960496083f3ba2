/**
 * A segment as it was at a timestamp: its data object is what it is, later deletes are left out, and rows that came later count
 * as deleted when they came, so that nobody ever sees them.
 */
import { joinPieces } from '#cli/backup/join-pieces.js'
import { checksumOf } from '#engine/segment/checksum.js'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { deletesName } from '#engine/segment/object-names.js'
import { openDeletes, openSealedData } from '#engine/segment/read-sealed.js'
import { planDeletesFile } from '#engine/segment/write-sealed.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface SegmentAsOf {
  readonly manifest: SegmentManifest
  /** Deletes that the source has no object of. */
  readonly made: { readonly object: ObjectReference; readonly bytes: Uint8Array } | undefined
}

/** @returns undefined when no row was there */
export async function asOf(
  store: ObjectStore,
  manifest: SegmentManifest,
  at: number,
): Promise<SegmentAsOf | undefined> {
  const deleted = await deletesOf(store, manifest)
  const isOld = [...deleted.values()].every((time) => time <= at)
  if (isOld && manifest.maxTimestamp <= at) return { manifest, made: undefined }
  for (const [rowId, time] of deleted) if (time > at) deleted.delete(rowId)
  if (manifest.maxTimestamp > at) {
    const bytes = await required(store, manifest.data)
    const { rowIds, inserted, rowCount } = openSealedData(aligned(bytes))
    let later = 0
    rowIds.forEach((rowId, i) => {
      const time = inserted[i] ?? 0
      if (time <= at) return
      deleted.set(rowId, time)
      later += 1
    })
    if (later === rowCount) return undefined
  }
  const { deletes: _, ...rest } = manifest
  if (deleted.size === 0) return { manifest: rest, made: undefined }
  const rowIds = Float64Array.from(deleted.keys()).sort()
  const times = rowIds.map((rowId) => deleted.get(rowId) ?? 0)
  const bytes = joinPieces(planDeletesFile(manifest.segmentId, { rowIds, deleted: times }))
  const checksum = checksumOf(bytes)
  const object = {
    name: deletesName(manifest, `at${at}`, checksum),
    bytes: bytes.byteLength,
    checksum,
  }
  return { manifest: { ...rest, deletes: object }, made: { object, bytes } }
}

async function deletesOf(
  store: ObjectStore,
  { deletes }: SegmentManifest,
): Promise<Map<number, number>> {
  if (deletes === undefined) return new Map()
  const { rowIds, deleted } = openDeletes(aligned(await required(store, deletes)))
  return new Map(Array.from(rowIds, (rowId, i) => [rowId, deleted[i] ?? 0]))
}

async function required(store: ObjectStore, object: ObjectReference): Promise<Uint8Array> {
  const bytes = await store.get(object.name)
  if (bytes === undefined) throw new Error(`object "${object.name}" is missing`)
  if (bytes.byteLength !== object.bytes || checksumOf(bytes) !== object.checksum) {
    throw new Error(`object "${object.name}" is damaged: size or checksum differ`)
  }
  return bytes
}

/** Views need a multiple of 8, which a store's answer need not have. */
function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
}

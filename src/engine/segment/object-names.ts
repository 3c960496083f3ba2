/**
 * Names of a segment's objects. The checksum is part of the name: an object is never replaced by other bytes, so a job
 * that runs twice, or a rebuilt index, cannot pull the ground from under a manifest that names the earlier one.
 */
import type { SegmentManifest } from '#engine/segment/manifest.js'

export type SegmentIdentity = Pick<SegmentManifest, 'tableId' | 'incarnation' | 'segmentId'>

/** All objects of segments begin so. */
export const segmentsPrefix = 'tables/'

/** All objects of the segment begin so. */
export function segmentPrefix({ tableId, incarnation, segmentId }: SegmentIdentity): string {
  return `${segmentsPrefix}${tableId}/${incarnation}/segments/${segmentId}/`
}

export function dataName(segment: SegmentIdentity, checksum: string): string {
  return `${segmentPrefix(segment)}data-${checksum}.arrow`
}

export function deletesName(segment: SegmentIdentity, checksum: string): string {
  return `${segmentPrefix(segment)}deletes-${checksum}.arrow`
}

export function indexName(segment: SegmentIdentity, indexOid: number, checksum: string): string {
  return `${segmentPrefix(segment)}index-${indexOid}-${checksum}.hnsw`
}

export function manifestName(segment: SegmentIdentity, checksum: string): string {
  return `${segmentPrefix(segment)}manifest-${checksum}.json`
}

export function isManifestName(name: string): boolean {
  return name.endsWith('.json')
}

/** Names of the objects that the manifest keeps alive (the manifest's own copy apart). */
export function namedObjects(manifest: SegmentManifest): readonly string[] {
  return [
    manifest.data.name,
    ...(manifest.deletes === undefined ? [] : [manifest.deletes.name]),
    ...manifest.indexes.map(({ object }) => object.name),
  ]
}

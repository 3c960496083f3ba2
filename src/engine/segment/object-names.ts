/**
 * Names of a segment's objects. Each has a unique part, so that a name never comes twice: a job that runs twice, or a rebuilt
 * index, cannot pull the ground from under a manifest that names the earlier one, and what the collector has condemned no job
 * makes again. The checksum is part of the name for whoever looks at the file.
 */
import type { SegmentManifest } from '#engine/segment/manifest.js'

export type SegmentIdentity = Pick<SegmentManifest, 'tableId' | 'incarnation' | 'segmentId'>

/** All objects of segments begin so. */
export const segmentsPrefix = 'tables/'

/** All objects of the segment begin so. */
export function segmentPrefix({ tableId, incarnation, segmentId }: SegmentIdentity): string {
  return `${segmentsPrefix}${tableId}/${incarnation}/segments/${segmentId}/`
}

export function dataName(segment: SegmentIdentity, unique: string, checksum: string): string {
  return `${segmentPrefix(segment)}data-${unique}-${checksum}.arrow`
}

export function deletesName(segment: SegmentIdentity, unique: string, checksum: string): string {
  return `${segmentPrefix(segment)}deletes-${unique}-${checksum}.arrow`
}

export function indexName(
  segment: SegmentIdentity,
  indexOid: number,
  unique: string,
  checksum: string,
): string {
  return `${segmentPrefix(segment)}index-${indexOid}-${unique}-${checksum}.hnsw`
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

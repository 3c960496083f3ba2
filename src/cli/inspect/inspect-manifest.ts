/** A sealed segment's manifest. */
import { readFile } from 'node:fs/promises'
import { describeTimestamp } from '#cli/inspect/describe.js'
import { print } from '#cli/print.js'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'

export async function inspectManifest(path: string): Promise<void> {
  for (const line of describeManifest(JSON.parse(await readFile(path, 'utf8')))) print(line)
}

export function describeManifest(manifest: SegmentManifest): readonly string[] {
  const { segmentId, tableId, shard, incarnation, rowCount, minRowId, maxRowId } = manifest
  return [
    `segment ${segmentId} of table ${tableId} (shard ${shard}, incarnation ${incarnation}), format ${manifest.formatVersion}`,
    `  ${rowCount.toLocaleString('en')} rows, row ids ${minRowId}–${maxRowId}`,
    `  written ${describeTimestamp(manifest.minTimestamp)} to ${describeTimestamp(manifest.maxTimestamp)}`,
    `  data     ${describeObject(manifest.data)}`,
    ...(manifest.deletes === undefined ? [] : [`  deletes  ${describeObject(manifest.deletes)}`]),
    ...manifest.indexes.map(
      ({ indexOid, attnum, metric, object }) =>
        `  index    ${indexOid} on column ${attnum}, ${metric}: ${describeObject(object)}`,
    ),
    ...manifest.columns.map(
      ({ attnum, nullCount, min, max }) =>
        `  column ${attnum}: ${nullCount} NULL${min === undefined ? '' : `, min ${min}, max ${max} (base64)`}`,
    ),
  ]
}

function describeObject({ name, bytes, checksum }: ObjectReference): string {
  return `${name}, ${bytes.toLocaleString('en')} bytes, CRC-32 ${checksum}`
}

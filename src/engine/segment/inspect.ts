/** A segment's manifest and files in words, for `elanus inspect`. */
import { type Timestamp, timestampToUnixMs } from '#base/timestamp.js'
import { columnByteLength } from '#engine/columnar/batch.js'
import { checksumOf } from '#engine/segment/checksum.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { openSealedFile, type StoredColumn } from '#engine/segment/sealed-file.js'
import { formatTimestamp } from '#engine/types/datetime-text.js'

/** 2000-01-01 in milliseconds since 1970. */
const postgresEpochMs = 946_684_800_000

/** @returns lines */
export function describeManifest(manifest: SegmentManifest): readonly string[] {
  const { data, deletes, indexes, columns } = manifest
  return [
    `segment ${manifest.segmentId} of table ${manifest.tableId} (incarnation ${manifest.incarnation}), shard ${manifest.shard}, format ${manifest.formatVersion}`,
    `${manifest.rowCount} rows, row ids ${manifest.minRowId} to ${manifest.maxRowId}`,
    `inserted ${describeTimestamp(manifest.minTimestamp)} to ${describeTimestamp(manifest.maxTimestamp)}`,
    `data     ${data.name}, ${data.bytes} bytes, CRC-32 ${data.checksum}`,
    deletes === undefined
      ? 'deletes  none'
      : `deletes  ${deletes.name}, ${deletes.bytes} bytes, CRC-32 ${deletes.checksum}`,
    ...indexes.map(
      ({ indexOid, attnum, metric, object }) =>
        `index    ${indexOid} on column ${attnum} (${metric}): ${object.name}, ${object.bytes} bytes, CRC-32 ${object.checksum}`,
    ),
    ...columns.map(({ attnum, nullCount, min, max }) => {
      const bounds = min === undefined || max === undefined ? '' : `, ${hex(min)} to ${hex(max)}`
      return `column   ${attnum}: ${nullCount} NULL${bounds}`
    }),
  ]
}

/**
 * A data or deletes file. @param bytes the whole file, beginning at a multiple of 8
 * @throws XX001 when it is not a file of ours
 */
export function describeSegmentFile(bytes: Uint8Array): readonly string[] {
  const { rowCount, columns, metadata } = openSealedFile(bytes)
  const facts = [...metadata].map(([name, value]) => `${name.replace(/^elanus:/, '')} ${value}`)
  return [
    `Arrow IPC file, ${bytes.byteLength} bytes, CRC-32 ${checksumOf(bytes)}`,
    facts.join(', '),
    `${rowCount} rows`,
    ...columns.map((column) => describeColumn(column, bytes.byteOffset)),
  ]
}

function describeColumn(stored: StoredColumn, start: number): string {
  const { name, sqlName, typeName, typmod, kind, width, nullCount, column } = stored
  const type = typmod === -1 ? typeName : `${typeName} (typmod ${typmod})`
  const shape = width === 0 ? kind : `${kind} × ${width}`
  const at = column.values.byteOffset - start
  return `${name} "${sqlName}" ${type}, ${shape}, ${nullCount} NULL, ${columnByteLength(column)} bytes, values at ${at}`
}

function describeTimestamp(timestamp: number): string {
  const micros = BigInt(timestampToUnixMs(timestamp as Timestamp) - postgresEpochMs) * 1000n
  return `${timestamp} (${formatTimestamp(micros, '+00')})`
}

function hex(base64: string): string {
  return `0x${Buffer.from(base64, 'base64').toString('hex')}`
}

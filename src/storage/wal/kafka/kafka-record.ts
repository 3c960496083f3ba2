/**
 * A record of the log as a Kafka record's value. Little-endian. Drawn in docs/formats/kafka-log.md.
 *
 *   open     0 u8 kind = 1 · 1 u8 version · 2 u16 0 · 4 u32 0 · 8 f64 term
 *   append   0 u8 kind = 2 · 1 u8 version · 2 u16 0 · 4 u32 0 · 8 f64 offset that its writer expects for it ·
 *            16 f64 offset of the last record of its append · 24 payload
 *
 * An append record counts only where its writer expected it: whoever opens a writer takes an offset with its open record, and
 * from there on everything an older writer sends comes out at other offsets than it expects. So readers need to know nothing
 * of terms, and a deposed writer sees from the answer that it is one (docs/adr/2026-11-21-log-on-kafka.md).
 */
import { DatabaseError, SqlState } from '#base/errors.js'

const version = 1
const openKind = 1
const appendKind = 2
const openBytes = 16
export const appendHeaderBytes = 24

export type KafkaLogRecord =
  | { readonly kind: 'open'; readonly term: number }
  | {
      readonly kind: 'append'
      readonly expected: number
      readonly last: number
      readonly payload: Uint8Array
    }

export function encodeOpen(term: number): Buffer {
  const bytes = Buffer.alloc(openBytes)
  bytes.writeUInt8(openKind, 0)
  bytes.writeUInt8(version, 1)
  bytes.writeDoubleLE(term, 8)
  return bytes
}

/** The payload is copied. */
export function encodeAppend(expected: number, last: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(appendHeaderBytes + payload.byteLength)
  bytes.fill(0, 0, 8)
  bytes.writeUInt8(appendKind, 0)
  bytes.writeUInt8(version, 1)
  bytes.writeDoubleLE(expected, 8)
  bytes.writeDoubleLE(last, 16)
  bytes.set(payload, appendHeaderBytes)
  return bytes
}

/** The payload is a view of the bytes. @throws XX001 */
export function decodeKafkaRecord(bytes: Buffer | null): KafkaLogRecord {
  if (bytes === null || bytes.byteLength < openBytes) throw corrupted('cut short')
  if (bytes.readUInt8(1) !== version) throw corrupted('unknown version')
  const kind = bytes.readUInt8(0)
  if (kind === openKind) return { kind: 'open', term: bytes.readDoubleLE(8) }
  if (kind !== appendKind || bytes.byteLength < appendHeaderBytes) throw corrupted('unknown kind')
  return {
    kind: 'append',
    expected: bytes.readDoubleLE(8),
    last: bytes.readDoubleLE(16),
    payload: bytes.subarray(appendHeaderBytes),
  }
}

function corrupted(what: string): DatabaseError {
  return new DatabaseError(
    SqlState.dataCorrupted,
    `record of the log in Kafka is corrupted: ${what}`,
  )
}

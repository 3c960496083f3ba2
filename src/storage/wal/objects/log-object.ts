/**
 * An object of the log: what one put appended. Little-endian. Drawn in docs/formats/object-log.md.
 *
 *   0 u32 magic 'ELOL' · 4 u8 version · 5 u8 kind (1 = a writer was opened, 2 = records) · 6 u16 0 · 8 f64 term ·
 *   16 16 bytes: which put this is, so that a writer knows its own again · 32 u32 records · 36 u32 CRC-32 of all but these four bytes ·
 *   40 u32 length per record · payloads
 */
import { crc32 } from 'node:zlib'
import { DatabaseError, SqlState } from '#base/errors.js'

const magic = 0x4c4f_4c45
const version = 1
const openKind = 1
const recordsKind = 2
const headerBytes = 40
/** Of an object without records. */
export const openObjectBytes = headerBytes
const checksumAt = 36
export const putIdBytes = 16

export interface LogObject {
  readonly kind: 'open' | 'records'
  readonly term: number
  readonly putId: Uint8Array
  readonly payloads: readonly Uint8Array[]
}

export function encodeLogObject({ kind, term, putId, payloads }: LogObject): Uint8Array {
  const tableEnd = headerBytes + 4 * payloads.length
  const size = payloads.reduce((sum, payload) => sum + payload.byteLength, tableEnd)
  const bytes = Buffer.alloc(size)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt8(version, 4)
  bytes.writeUInt8(kind === 'open' ? openKind : recordsKind, 5)
  bytes.writeDoubleLE(term, 8)
  bytes.set(putId, 16)
  bytes.writeUInt32LE(payloads.length, 32)
  let at = tableEnd
  payloads.forEach((payload, i) => {
    bytes.writeUInt32LE(payload.byteLength, headerBytes + 4 * i)
    bytes.set(payload, at)
    at += payload.byteLength
  })
  bytes.writeUInt32LE(checksumOf(bytes), checksumAt)
  return bytes
}

/** Payloads are views of the bytes. @throws XX001 */
export function decodeLogObject(name: string, stored: Uint8Array): LogObject {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== magic) {
    throw corrupted(name, 'not an object of the log')
  }
  if (bytes.readUInt8(4) !== version) throw corrupted(name, 'unknown version')
  if (bytes.readUInt32LE(checksumAt) !== checksumOf(bytes)) throw corrupted(name, 'wrong checksum')
  const count = bytes.readUInt32LE(32)
  const payloads: Uint8Array[] = []
  let at = headerBytes + 4 * count
  for (let i = 0; i < count; i += 1) {
    const length = bytes.readUInt32LE(headerBytes + 4 * i)
    payloads.push(bytes.subarray(at, at + length))
    at += length
  }
  if (at !== bytes.length) throw corrupted(name, 'other size than recorded')
  return {
    kind: bytes.readUInt8(5) === openKind ? 'open' : 'records',
    term: bytes.readDoubleLE(8),
    putId: bytes.subarray(16, 16 + putIdBytes),
    payloads,
  }
}

function checksumOf(bytes: Buffer): number {
  return crc32(bytes.subarray(checksumAt + 4), crc32(bytes.subarray(0, checksumAt)))
}

function corrupted(name: string, what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `object "${name}" is corrupted: ${what}`)
}

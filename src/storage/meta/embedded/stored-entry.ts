/**
 * A value of the embedded meta store as LMDB keeps it. Little-endian; docs/formats/meta.md.
 *
 *   0   f64   revision
 *   8   u8    flags: 1 = held by a lease, 2 = a checksum follows (entries of the first format have none)
 *   9   u32   CRC-32 of the key, of bytes 0..8 and of the value
 *   13        value
 */
import { crc32 } from 'node:zlib'
import { DatabaseError, SqlState } from '#base/errors.js'

const flagsAt = 8
const checksumAt = 9
const valueAt = 13
const leasedFlag = 1
const checksumFlag = 2

export interface StoredEntry {
  readonly revision: number
  readonly isLeased: boolean
  /** A view. */
  readonly value: Buffer
}

export function encodeStoredEntry(
  key: Uint8Array,
  revision: number,
  isLeased: boolean,
  value: Uint8Array,
): Buffer {
  const bytes = Buffer.allocUnsafe(valueAt + value.length)
  bytes.writeDoubleLE(revision, 0)
  bytes.writeUInt8((isLeased ? leasedFlag : 0) | checksumFlag, flagsAt)
  bytes.set(value, valueAt)
  bytes.writeUInt32LE(checksumOf(key, bytes), checksumAt)
  return bytes
}

/** @throws XX001 when the bytes are not those that were written for the key */
export function decodeStoredEntry(key: Uint8Array, bytes: Buffer): StoredEntry {
  if (bytes.length < checksumAt) throw corrupted(key, 'shorter than any entry')
  const flags = bytes.readUInt8(flagsAt)
  if (flags > (leasedFlag | checksumFlag)) throw corrupted(key, `unknown flags ${flags}`)
  const hasChecksum = (flags & checksumFlag) !== 0
  if (hasChecksum && bytes.length < valueAt) throw corrupted(key, 'shorter than any entry')
  if (hasChecksum && checksumOf(key, bytes) !== bytes.readUInt32LE(checksumAt))
    throw corrupted(key, 'wrong CRC-32')
  return {
    revision: bytes.readDoubleLE(0),
    isLeased: isLeasedEntry(bytes),
    value: bytes.subarray(hasChecksum ? valueAt : checksumAt),
  }
}

/** Without looking at the value. */
export function isLeasedEntry(bytes: Uint8Array): boolean {
  return ((bytes[flagsAt] ?? 0) & leasedFlag) !== 0
}

function checksumOf(key: Uint8Array, bytes: Buffer): number {
  return crc32(bytes.subarray(valueAt), crc32(bytes.subarray(0, checksumAt), crc32(key)))
}

function corrupted(key: Uint8Array, what: string): DatabaseError {
  return new DatabaseError(
    SqlState.dataCorrupted,
    `meta store is corrupted at key "${Buffer.from(key).toString()}": ${what}`,
  )
}

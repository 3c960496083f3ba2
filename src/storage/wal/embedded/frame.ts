/**
 * One append = one frame: so an append is there whole or not at all (WAL-2).
 *
 * | offset | type      | meaning |
 * |--------|-----------|---------|
 * | 0      | u32       | magic "EWF1" |
 * | 4      | u32       | CRC-32 of bytes 8 .. end of the length table, begun with the file's salt |
 * | 8      | u32       | CRC-32 of the payload bytes with their padding |
 * | 12     | u32       | record count |
 * | 16     | f64       | position of the first record; the others follow by one each |
 * | 24     | f64       | durable position: every record before it was synced before this frame was written |
 * | 32     | u32       | term of the writer |
 * | 36     | u32       | payload bytes with padding |
 * | 40     | u32[]     | length of each record, the table zero-padded to a multiple of 8 |
 * | …      | u8[]      | the records, each zero-padded to a multiple of 8 |
 *
 * Little-endian. Frames begin at multiples of 8, and so do records: a reader may lay typed arrays over them.
 * The salt keeps bytes inside a record (someone may store a log in a table) from passing as a frame.
 * CRC-32 (zlib's) rather than CRC-32C: Node has it in native code, at about 5 GB/s.
 */
import { crc32 } from 'node:zlib'
import { invariant } from '#base/errors.js'
import { logAppendRecordCountMax } from '#base/limits.js'
import type { LogRecord } from '#storage/wal/wal.js'

const fixedBytes = 40
export const frameMagic = Buffer.from('EWF1', 'latin1')
const magicNumber = frameMagic.readUInt32LE(0)

export interface FrameHeader {
  readonly recordCount: number
  readonly firstPosition: number
  readonly durablePosition: number
  readonly term: number
  readonly headerBytes: number
  readonly payloadBytes: number
}

export interface FrameFields {
  readonly firstPosition: number
  readonly durablePosition: number
  readonly term: number
  readonly salt: number
}

const padded = (byteCount: number) => (byteCount + 7) & ~7
const zeroBytes = new Uint8Array(0)

/** Bytes that the payloads take in the log. */
export function frameBytes(payloads: readonly Uint8Array[]): number {
  let sum = padded(fixedBytes + 4 * payloads.length)
  for (const payload of payloads) sum += Math.ceil(payload.length / 8) * 8
  return sum
}

/** Payloads up to this size are copied together, larger ones are written from where they lie. */
const copiedBytesMax = 16 * 1024

/** Appends the frame to `parts` as pieces to be written one after the other; large payloads are not copied. */
export function encodeFrame(
  payloads: readonly Uint8Array[],
  fields: FrameFields,
  parts: Uint8Array[],
): void {
  const headerBytes = padded(fixedBytes + 4 * payloads.length)
  const firstPart = parts.length
  const head = Buffer.alloc(headerBytes + copiedBytes(payloads))
  let pieceStart = 0
  let at = headerBytes
  payloads.forEach((payload, ordinal) => {
    head.writeUInt32LE(payload.length, fixedBytes + 4 * ordinal)
    if (payload.length <= copiedBytesMax) {
      head.set(payload, at)
      at += padded(payload.length)
      return
    }
    parts.push(head.subarray(pieceStart, at), payload)
    pieceStart = at
    at += padded(payload.length) - payload.length
  })
  parts.push(head.subarray(pieceStart, at))
  invariant('WAL-2', at === head.length, 'the pieces of a frame fill it exactly')

  let payloadCrc = 0
  for (let ordinal = firstPart; ordinal < parts.length; ordinal += 1) {
    const part = parts[ordinal] ?? zeroBytes
    payloadCrc = crc32(ordinal === firstPart ? part.subarray(headerBytes) : part, payloadCrc)
  }
  head.writeUInt32LE(magicNumber, 0)
  head.writeUInt32LE(payloadCrc, 8)
  head.writeUInt32LE(payloads.length, 12)
  head.writeDoubleLE(fields.firstPosition, 16)
  head.writeDoubleLE(fields.durablePosition, 24)
  head.writeUInt32LE(fields.term, 32)
  head.writeUInt32LE(frameBytes(payloads) - headerBytes, 36)
  head.writeUInt32LE(crc32(head.subarray(8, headerBytes), fields.salt), 4)
}

/** Small payloads with their padding, and the padding of large ones. */
function copiedBytes(payloads: readonly Uint8Array[]): number {
  let sum = 0
  for (const { length } of payloads) {
    sum += length <= copiedBytesMax ? padded(length) : padded(length) - length
  }
  return sum
}

/** @returns the header, 'invalid', or how many bytes are needed to tell. */
export function decodeFrameHeader(
  bytes: Buffer,
  offset: number,
  salt: number,
): FrameHeader | 'invalid' | { readonly needBytes: number } {
  if (bytes.length - offset < fixedBytes) return { needBytes: fixedBytes }
  if (bytes.readUInt32LE(offset) !== magicNumber) return 'invalid'
  const recordCount = bytes.readUInt32LE(offset + 12)
  if (recordCount === 0 || recordCount > logAppendRecordCountMax) return 'invalid'
  const headerBytes = padded(fixedBytes + 4 * recordCount)
  if (bytes.length - offset < headerBytes) return { needBytes: headerBytes }
  const crc = crc32(bytes.subarray(offset + 8, offset + headerBytes), salt)
  if (crc !== bytes.readUInt32LE(offset + 4)) return 'invalid'
  return {
    recordCount,
    firstPosition: bytes.readDoubleLE(offset + 16),
    durablePosition: bytes.readDoubleLE(offset + 24),
    term: bytes.readUInt32LE(offset + 32),
    headerBytes,
    payloadBytes: bytes.readUInt32LE(offset + 36),
  }
}

/** The frame must lie in `bytes` as a whole. @returns false when its payload is not what was written. */
export function isFramePayloadIntact(bytes: Buffer, offset: number, header: FrameHeader): boolean {
  const start = offset + header.headerBytes
  return (
    crc32(bytes.subarray(start, start + header.payloadBytes)) === bytes.readUInt32LE(offset + 8)
  )
}

/** The frame's records with position >= from; payloads are views of `bytes`. */
export function decodeRecords(
  bytes: Buffer,
  offset: number,
  header: FrameHeader,
  from: number,
  into: LogRecord[],
): void {
  let at = offset + header.headerBytes
  const end = at + header.payloadBytes
  for (let ordinal = 0; ordinal < header.recordCount; ordinal += 1) {
    const length = bytes.readUInt32LE(offset + fixedBytes + 4 * ordinal)
    const position = header.firstPosition + ordinal
    if (position >= from) {
      into.push({ position, payload: new Uint8Array(bytes.buffer, bytes.byteOffset + at, length) })
    }
    at += padded(length)
  }
  invariant('WAL-2', at === end, 'the records of a frame fill it exactly')
}

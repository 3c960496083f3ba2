/**
 * Records of transactions over several log channels, on participants that do not decide. Drawn in docs/formats/log-records.md.
 *
 * prepare: 0 u8 kind = 4 · 1 u8 version · 2 u16 bytes of the id · 4 u32 writes · 8 f64 prepared at · 16 u32 stages ·
 *          20 u32 absent keys · 24 u32 references · 28 u32 0 · 32 f64 per stage id · writes · id · absent keys · references
 *   absent key: 0 u32 table · 4 u32 index · 8 u32 bytes · 12 key (columnar/key.ts, a byte per character)
 *   reference:  as an absent key, then f64 row id
 * finish:  0 u8 kind = 5 · 1 u8 version · 2 u16 bytes of the id · 4 u32 outcome (0 aborted, 1 committed) · 8 f64 timestamp · id
 */
import type { Timestamp } from '#base/timestamp.js'
import type { TransactionId } from '#nodes/streaming/contract.js'
import {
  type CommitWriteRecord,
  corrupted,
  decodeWrite,
  encodeWrite,
  recordVersion,
  writeSize,
} from '#nodes/streaming/write-record.js'

export const prepareKind = 4
export const finishKind = 5
const prepareHeaderSize = 32
const finishHeaderSize = 16
const keyHeaderSize = 12

export interface KeyRecord {
  readonly tableId: number
  readonly indexOid: number
  /** As encodeKey() makes it. */
  readonly key: string
}

export interface ReferenceRecord extends KeyRecord {
  readonly rowId: number
}

export interface PrepareRecord {
  readonly kind: 'prepare'
  readonly transactionId: TransactionId
  readonly preparedAt: Timestamp
  readonly stageIds: readonly number[]
  readonly writes: readonly CommitWriteRecord[]
  readonly absentKeys: readonly KeyRecord[]
  readonly references: readonly ReferenceRecord[]
}

export interface FinishRecord {
  readonly kind: 'finish'
  readonly transactionId: TransactionId
  /** undefined: aborted. */
  readonly committedAt: Timestamp | undefined
}

export function encodePrepare(record: PrepareRecord): Uint8Array {
  const { stageIds, writes, absentKeys, references } = record
  const id = Buffer.from(record.transactionId)
  let size = prepareHeaderSize + 8 * stageIds.length + id.byteLength
  for (const write of writes) size += writeSize(write)
  for (const { key } of absentKeys) size += keyHeaderSize + key.length
  for (const { key } of references) size += keyHeaderSize + key.length + 8
  const bytes = Buffer.alloc(size)
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  bytes.writeUInt8(prepareKind, 0)
  bytes.writeUInt8(recordVersion, 1)
  bytes.writeUInt16LE(id.byteLength, 2)
  bytes.writeUInt32LE(writes.length, 4)
  bytes.writeDoubleLE(record.preparedAt, 8)
  bytes.writeUInt32LE(stageIds.length, 16)
  bytes.writeUInt32LE(absentKeys.length, 20)
  bytes.writeUInt32LE(references.length, 24)
  let at = prepareHeaderSize
  for (const stageId of stageIds) at = bytes.writeDoubleLE(stageId, at)
  for (const write of writes) at = encodeWrite(view, at, write)
  at += id.copy(bytes, at)
  for (const absent of absentKeys) at = encodeKeyRecord(bytes, at, absent)
  for (const reference of references) {
    at = encodeKeyRecord(bytes, at, reference)
    at = bytes.writeDoubleLE(reference.rowId, at)
  }
  return bytes
}

export function decodePrepare(view: DataView, payload: Uint8Array): PrepareRecord {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const writeCount = bytes.readUInt32LE(4)
  const stageCount = bytes.readUInt32LE(16)
  const absentCount = bytes.readUInt32LE(20)
  const referenceCount = bytes.readUInt32LE(24)
  let at = prepareHeaderSize
  const stageIds: number[] = []
  for (let i = 0; i < stageCount; i += 1, at += 8) stageIds.push(bytes.readDoubleLE(at))
  const writes: CommitWriteRecord[] = []
  for (let i = 0; i < writeCount; i += 1) {
    const write = decodeWrite(view, at)
    writes.push(write)
    at += writeSize(write)
  }
  const idEnd = at + bytes.readUInt16LE(2)
  const transactionId = bytes.toString('utf8', at, idEnd)
  at = idEnd
  const absentKeys: KeyRecord[] = []
  for (let i = 0; i < absentCount; i += 1) {
    const absent = decodeKeyRecord(bytes, at)
    absentKeys.push(absent)
    at += keyHeaderSize + absent.key.length
  }
  const references: ReferenceRecord[] = []
  for (let i = 0; i < referenceCount; i += 1) {
    const key = decodeKeyRecord(bytes, at)
    at += keyHeaderSize + key.key.length
    references.push({ ...key, rowId: bytes.readDoubleLE(at) })
    at += 8
  }
  if (at !== bytes.byteLength) throw corrupted('other size than recorded')
  const preparedAt = bytes.readDoubleLE(8) as Timestamp
  return { kind: 'prepare', transactionId, preparedAt, stageIds, writes, absentKeys, references }
}

function encodeKeyRecord(bytes: Buffer, at: number, { tableId, indexOid, key }: KeyRecord): number {
  bytes.writeUInt32LE(tableId, at)
  bytes.writeUInt32LE(indexOid, at + 4)
  bytes.writeUInt32LE(key.length, at + 8)
  return at + keyHeaderSize + bytes.write(key, at + keyHeaderSize, 'latin1')
}

function decodeKeyRecord(bytes: Buffer, at: number): KeyRecord {
  const start = at + keyHeaderSize
  const end = start + bytes.readUInt32LE(at + 8)
  if (end > bytes.byteLength) throw corrupted('cut short')
  return {
    tableId: bytes.readUInt32LE(at),
    indexOid: bytes.readUInt32LE(at + 4),
    key: bytes.toString('latin1', start, end),
  }
}

export function encodeFinish({ transactionId, committedAt }: FinishRecord): Uint8Array {
  const id = Buffer.from(transactionId)
  const bytes = Buffer.alloc(finishHeaderSize + id.byteLength)
  bytes.writeUInt8(finishKind, 0)
  bytes.writeUInt8(recordVersion, 1)
  bytes.writeUInt16LE(id.byteLength, 2)
  bytes.writeUInt32LE(committedAt === undefined ? 0 : 1, 4)
  bytes.writeDoubleLE(committedAt ?? 0, 8)
  id.copy(bytes, finishHeaderSize)
  return bytes
}

export function decodeFinish(view: DataView, payload: Uint8Array): FinishRecord {
  const idBytes = view.getUint16(2, true)
  if (payload.byteLength !== finishHeaderSize + idBytes) throw corrupted('other size than recorded')
  const id = payload.subarray(finishHeaderSize)
  const transactionId = Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString()
  const isCommitted = view.getUint32(4, true) === 1
  const committedAt = isCommitted ? (view.getFloat64(8, true) as Timestamp) : undefined
  return { kind: 'finish', transactionId, committedAt }
}

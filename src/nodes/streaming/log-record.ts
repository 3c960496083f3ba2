/**
 * Records of a log channel. Drawn in docs/formats/log-records.md. Little-endian.
 *
 *   rows     rows of one shard, part of nothing yet; the record after it is their batch (columnar/batch-codec.ts)
 *   commit   a transaction: staged row groups that become visible, deletes, truncations, DDL, all at one timestamp
 *   abort    a group of rows that will never be committed
 *   prepare, finish   parts of transactions over several log channels: prepare-record.ts
 *
 * rows:    0 u8 kind = 1 · 1 u8 version · 2 u16 columns · 4 u32 shard · 8 f64 stage id · 16 f64 row id of the first row ·
 *          24 u32 table · 28 u32 incarnation · 32 u32 rows · 36 u32 0 · 40 i16 attribute number per column
 * commit:  0 u8 kind = 2 · 1 u8 version · 2 u16 state (0 = decided here, 1 = decided here for others too) · 4 u32 writes ·
 *          8 f64 timestamp · 16 f64 0 · 24 u32 stages · 28 u32 bytes of DDL · 32 f64 per stage id · writes · DDL · decision
 *   decision (state 1): 0 u16 bytes of the id · 2 u16 participants · 4 f64 prepared at · id · (u16 bytes · name) each
 *   write: 0 u32 table · 4 u32 shard · 8 u32 incarnation · 12 u32 flags (1 = truncate) · 16 u32 deletes · 20 u32 0 ·
 *          24 f64 row id per delete
 * abort:   0 u8 kind = 3 · 1 u8 version · 2 u16 0 · 4 u32 0 · 8 f64 stage id
 */
import type { Timestamp } from '#base/timestamp.js'
import type { Decision } from '#nodes/streaming/contract.js'
import {
  decodeFinish,
  decodePrepare,
  encodeFinish,
  encodePrepare,
  type FinishRecord,
  finishKind,
  type PrepareRecord,
  prepareKind,
} from '#nodes/streaming/prepare-record.js'
import {
  type CommitWriteRecord,
  corrupted,
  decodeWrite,
  encodeWrite,
  recordVersion,
  writeSize,
} from '#nodes/streaming/write-record.js'

const nothing = new Uint8Array(0)

const rowsKind = 1
const commitKind = 2
const abortKind = 3
const decidedHere = 0
const decidedForAll = 1
const rowsHeaderSize = 40
const commitHeaderSize = 32
const decisionHeaderSize = 12

export interface RowsRecord {
  readonly kind: 'rows'
  readonly tableId: number
  readonly shard: number
  readonly incarnation: number
  readonly stageId: number
  readonly baseRowId: number
  readonly rowCount: number
  /** Of the columns of the batch that follows. */
  readonly attnums: readonly number[]
}

export interface CommitRecord {
  readonly kind: 'commit'
  readonly timestamp: Timestamp
  /** Of a transaction over several log channels. */
  readonly decision: Decision | undefined
  readonly stageIds: readonly number[]
  readonly writes: readonly CommitWriteRecord[]
  readonly ddl: Uint8Array | undefined
}

export interface AbortRecord {
  readonly kind: 'abort'
  readonly stageId: number
}

export type LogRecordContent =
  | RowsRecord
  | CommitRecord
  | AbortRecord
  | PrepareRecord
  | FinishRecord

export function encodeLogRecord(record: LogRecordContent): Uint8Array {
  switch (record.kind) {
    case 'rows':
      return encodeRows(record)
    case 'commit':
      return encodeCommit(record)
    case 'abort':
      return encodeAbort(record)
    case 'prepare':
      return encodePrepare(record)
    case 'finish':
      return encodeFinish(record)
  }
}

/** @throws XX001 when the bytes are none of these records */
export function decodeLogRecord(bytes: Uint8Array): LogRecordContent {
  if (bytes.byteLength < 8) throw corrupted('shorter than any record')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint8(1) !== recordVersion) throw corrupted('unknown version')
  try {
    switch (view.getUint8(0)) {
      case rowsKind:
        return decodeRows(view)
      case commitKind:
        return decodeCommit(view, bytes)
      case abortKind:
        return { kind: 'abort', stageId: view.getFloat64(8, true) }
      case prepareKind:
        return decodePrepare(view, bytes)
      case finishKind:
        return decodeFinish(view, bytes)
    }
  } catch (error) {
    if (error instanceof RangeError) throw corrupted('cut short')
    throw error
  }
  throw corrupted('unknown kind')
}

function encodeRows(record: RowsRecord): Uint8Array {
  const bytes = new Uint8Array(rowsHeaderSize + 2 * record.attnums.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, rowsKind)
  view.setUint8(1, recordVersion)
  view.setUint16(2, record.attnums.length, true)
  view.setUint32(4, record.shard, true)
  view.setFloat64(8, record.stageId, true)
  view.setFloat64(16, record.baseRowId, true)
  view.setUint32(24, record.tableId, true)
  view.setUint32(28, record.incarnation, true)
  view.setUint32(32, record.rowCount, true)
  record.attnums.forEach((attnum, i) => {
    view.setInt16(rowsHeaderSize + 2 * i, attnum, true)
  })
  return bytes
}

function decodeRows(view: DataView): RowsRecord {
  const attnums: number[] = []
  const columnCount = view.getUint16(2, true)
  if (view.byteLength !== rowsHeaderSize + 2 * columnCount) {
    throw corrupted('other size than recorded')
  }
  for (let i = 0; i < columnCount; i += 1) attnums.push(view.getInt16(rowsHeaderSize + 2 * i, true))
  return {
    kind: 'rows',
    tableId: view.getUint32(24, true),
    shard: view.getUint32(4, true),
    incarnation: view.getUint32(28, true),
    stageId: view.getFloat64(8, true),
    baseRowId: view.getFloat64(16, true),
    rowCount: view.getUint32(32, true),
    attnums,
  }
}

function encodeCommit(record: CommitRecord): Uint8Array {
  const { stageIds, writes, ddl } = record
  const decision = record.decision === undefined ? nothing : encodeDecision(record.decision)
  let size = commitHeaderSize + 8 * stageIds.length + (ddl?.byteLength ?? 0) + decision.byteLength
  for (const write of writes) size += writeSize(write)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, commitKind)
  view.setUint8(1, recordVersion)
  view.setUint16(2, record.decision === undefined ? decidedHere : decidedForAll, true)
  view.setUint32(4, writes.length, true)
  view.setFloat64(8, record.timestamp, true)
  view.setUint32(24, stageIds.length, true)
  // Absent and empty DDL are told apart.
  view.setUint32(28, ddl === undefined ? 0xffff_ffff : ddl.byteLength, true)
  let at = commitHeaderSize
  for (const stageId of stageIds) {
    view.setFloat64(at, stageId, true)
    at += 8
  }
  for (const write of writes) at = encodeWrite(view, at, write)
  if (ddl !== undefined) bytes.set(ddl, at)
  bytes.set(decision, at + (ddl?.byteLength ?? 0))
  return bytes
}

function encodeDecision({ transactionId, participants, preparedAt }: Decision): Uint8Array {
  const id = Buffer.from(transactionId)
  const names = participants.map((name) => Buffer.from(name))
  const head = Buffer.alloc(decisionHeaderSize)
  head.writeUInt16LE(id.byteLength, 0)
  head.writeUInt16LE(names.length, 2)
  head.writeDoubleLE(preparedAt, 4)
  const parts = names.flatMap((name) => {
    const length = Buffer.alloc(2)
    length.writeUInt16LE(name.byteLength, 0)
    return [length, name]
  })
  return Buffer.concat([head, id, ...parts])
}

function decodeDecision(bytes: Uint8Array): Decision {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = buffer.readUInt16LE(2)
  const preparedAt = buffer.readDoubleLE(4) as Timestamp
  let at = decisionHeaderSize + buffer.readUInt16LE(0)
  const transactionId = buffer.toString('utf8', decisionHeaderSize, at)
  const participants: string[] = []
  for (let i = 0; i < count; i += 1) {
    const end = at + 2 + buffer.readUInt16LE(at)
    participants.push(buffer.toString('utf8', at + 2, end))
    at = end
  }
  if (at !== buffer.byteLength) throw corrupted('other size than recorded')
  return { transactionId, participants, preparedAt }
}

function decodeCommit(view: DataView, bytes: Uint8Array): CommitRecord {
  const state = view.getUint16(2, true)
  if (state !== decidedHere && state !== decidedForAll) {
    throw corrupted('unknown state of a transaction')
  }
  const writeCount = view.getUint32(4, true)
  const stageCount = view.getUint32(24, true)
  const ddlBytes = view.getUint32(28, true)
  let at = commitHeaderSize
  const stageIds: number[] = []
  for (let i = 0; i < stageCount; i += 1, at += 8) stageIds.push(view.getFloat64(at, true))
  const writes: CommitWriteRecord[] = []
  for (let i = 0; i < writeCount; i += 1) {
    const write = decodeWrite(view, at)
    writes.push(write)
    at += writeSize(write)
  }
  const hasDdl = ddlBytes !== 0xffff_ffff
  const end = at + (hasDdl ? ddlBytes : 0)
  const fits = state === decidedHere ? end === bytes.byteLength : end < bytes.byteLength
  if (!fits) throw corrupted('other size than recorded')
  return {
    kind: 'commit',
    timestamp: view.getFloat64(8, true) as Timestamp,
    decision: state === decidedHere ? undefined : decodeDecision(bytes.subarray(end)),
    stageIds,
    writes,
    ddl: hasDdl ? bytes.slice(at, end) : undefined,
  }
}

function encodeAbort(record: AbortRecord): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, abortKind)
  view.setUint8(1, recordVersion)
  view.setFloat64(8, record.stageId, true)
  return bytes
}

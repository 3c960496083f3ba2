/**
 * Records of a log channel. Drawn in docs/formats/log-records.md. Little-endian.
 *
 *   rows     rows of one shard, part of nothing yet; the record after it is their batch (columnar/batch-codec.ts)
 *   commit   a transaction: staged row groups that become visible, deletes, truncations, DDL, all at one timestamp
 *   abort    a group of rows that will never be committed
 *
 * rows:    0 u8 kind = 1 · 1 u8 version · 2 u16 columns · 4 u32 shard · 8 f64 stage id · 16 f64 row id of the first row ·
 *          24 u32 table · 28 u32 incarnation · 32 u32 rows · 36 u32 0 · 40 i16 attribute number per column
 * commit:  0 u8 kind = 2 · 1 u8 version · 2 u16 state (0 = decided here) · 4 u32 writes · 8 f64 timestamp ·
 *          16 f64 transaction id · 24 u32 stages · 28 u32 bytes of DDL · 32 f64 per stage id · writes · DDL
 *   write: 0 u32 table · 4 u32 shard · 8 u32 incarnation · 12 u32 flags (1 = truncate) · 16 u32 deletes · 20 u32 0 ·
 *          24 f64 row id per delete
 * abort:   0 u8 kind = 3 · 1 u8 version · 2 u16 0 · 4 u32 0 · 8 f64 stage id
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'

const version = 1
const rowsKind = 1
const commitKind = 2
const abortKind = 3
const decidedHere = 0
const truncateFlag = 1
const rowsHeaderSize = 40
const commitHeaderSize = 32
const writeHeaderSize = 24

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

export interface CommitWriteRecord {
  readonly tableId: number
  readonly shard: number
  readonly incarnation: number
  readonly truncate: boolean
  readonly deletes: Float64Array
}

export interface CommitRecord {
  readonly kind: 'commit'
  readonly timestamp: Timestamp
  /** For transactions over several log channels; 0 now. */
  readonly transactionId: number
  readonly stageIds: readonly number[]
  readonly writes: readonly CommitWriteRecord[]
  readonly ddl: Uint8Array | undefined
}

export interface AbortRecord {
  readonly kind: 'abort'
  readonly stageId: number
}

export type LogRecordContent = RowsRecord | CommitRecord | AbortRecord

export function encodeLogRecord(record: LogRecordContent): Uint8Array {
  switch (record.kind) {
    case 'rows':
      return encodeRows(record)
    case 'commit':
      return encodeCommit(record)
    case 'abort':
      return encodeAbort(record)
  }
}

/** @throws XX001 when the bytes are none of these records */
export function decodeLogRecord(bytes: Uint8Array): LogRecordContent {
  if (bytes.byteLength < 8) throw corrupted('shorter than any record')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint8(1) !== version) throw corrupted('unknown version')
  try {
    switch (view.getUint8(0)) {
      case rowsKind:
        return decodeRows(view)
      case commitKind:
        return decodeCommit(view, bytes)
      case abortKind:
        return { kind: 'abort', stageId: view.getFloat64(8, true) }
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
  view.setUint8(1, version)
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
  let size = commitHeaderSize + 8 * stageIds.length + (ddl?.byteLength ?? 0)
  for (const { deletes } of writes) size += writeHeaderSize + 8 * deletes.length
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, commitKind)
  view.setUint8(1, version)
  view.setUint16(2, decidedHere, true)
  view.setUint32(4, writes.length, true)
  view.setFloat64(8, record.timestamp, true)
  view.setFloat64(16, record.transactionId, true)
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
  return bytes
}

function encodeWrite(view: DataView, start: number, write: CommitWriteRecord): number {
  view.setUint32(start, write.tableId, true)
  view.setUint32(start + 4, write.shard, true)
  view.setUint32(start + 8, write.incarnation, true)
  view.setUint32(start + 12, write.truncate ? truncateFlag : 0, true)
  view.setUint32(start + 16, write.deletes.length, true)
  let at = start + writeHeaderSize
  for (const rowId of write.deletes) {
    view.setFloat64(at, rowId, true)
    at += 8
  }
  return at
}

function decodeCommit(view: DataView, bytes: Uint8Array): CommitRecord {
  if (view.getUint16(2, true) !== decidedHere) throw corrupted('unknown state of a transaction')
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
    at += writeHeaderSize + 8 * write.deletes.length
  }
  const hasDdl = ddlBytes !== 0xffff_ffff
  if (at + (hasDdl ? ddlBytes : 0) !== bytes.byteLength) throw corrupted('other size than recorded')
  return {
    kind: 'commit',
    timestamp: view.getFloat64(8, true) as Timestamp,
    transactionId: view.getFloat64(16, true),
    stageIds,
    writes,
    ddl: hasDdl ? bytes.slice(at) : undefined,
  }
}

function decodeWrite(view: DataView, start: number): CommitWriteRecord {
  const count = view.getUint32(start + 16, true)
  if (start + writeHeaderSize + 8 * count > view.byteLength) throw corrupted('cut short')
  const deletes = new Float64Array(count)
  for (let i = 0; i < count; i += 1) {
    deletes[i] = view.getFloat64(start + writeHeaderSize + 8 * i, true)
  }
  return {
    tableId: view.getUint32(start, true),
    shard: view.getUint32(start + 4, true),
    incarnation: view.getUint32(start + 8, true),
    truncate: (view.getUint32(start + 12, true) & truncateFlag) !== 0,
    deletes,
  }
}

function encodeAbort(record: AbortRecord): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, abortKind)
  view.setUint8(1, version)
  view.setFloat64(8, record.stageId, true)
  return bytes
}

function corrupted(what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `log record is corrupted: ${what}`)
}

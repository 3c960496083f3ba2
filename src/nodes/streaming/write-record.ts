/** What commit and prepare records share: changes of one shard of one table. Drawn in docs/formats/log-records.md. */
import { DatabaseError, SqlState } from '#base/errors.js'

export const recordVersion = 1
const truncateFlag = 1
const writeHeaderSize = 24

export interface CommitWriteRecord {
  readonly tableId: number
  readonly shard: number
  readonly incarnation: number
  readonly truncate: boolean
  readonly deletes: Float64Array
}

export function writeSize({ deletes }: CommitWriteRecord): number {
  return writeHeaderSize + 8 * deletes.length
}

/** @returns where it ends */
export function encodeWrite(view: DataView, start: number, write: CommitWriteRecord): number {
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

/** @throws XX001 when the record ends before it does */
export function decodeWrite(view: DataView, start: number): CommitWriteRecord {
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

export function corrupted(what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `log record is corrupted: ${what}`)
}

/** A record of the log in words; `rows` is followed by its batch, which makes sense only with it. */
import { decodeBatch } from '#engine/columnar/batch-codec.js'
import { decodeLogRecord, type LogRecordContent } from '#nodes/streaming/log-record.js'
import { count, describeBytes, describeRuns, describeTimestamp } from './describe.js'
import { describeBatch } from './describe-columns.js'

/** What the record before says of the next one. */
export type Expected = { readonly batchOf: readonly number[] } | undefined

export interface DescribedRecord {
  readonly lines: readonly string[]
  readonly next: Expected
}

/** @param rowsMax of a batch. @throws XX001 when the bytes are no record */
export function describeRecord(
  payload: Uint8Array,
  expected: Expected,
  rowsMax: number,
): DescribedRecord {
  if (expected !== undefined) {
    const batch = decodeBatch(payload)
    const [columns = '', ...rows] = describeBatch(batch, expected.batchOf, rowsMax)
    const size = payload.byteLength.toLocaleString('en')
    return {
      lines: [`batch: ${count(batch.rowCount, 'row')}, ${size} bytes: ${columns}`, ...rows],
      next: undefined,
    }
  }
  const record = decodeLogRecord(payload)
  return {
    lines: describeContent(record),
    next: record.kind === 'rows' ? { batchOf: record.attnums } : undefined,
  }
}

function describeContent(record: LogRecordContent): readonly string[] {
  switch (record.kind) {
    case 'rows': {
      const { tableId, shard, incarnation, stageId, baseRowId, rowCount, attnums } = record
      return [
        `rows: ${count(rowCount, 'row')} of table ${tableId} (shard ${shard}, incarnation ${incarnation}), ` +
          `row ids from ${baseRowId}, stage ${stageId}, columns ${attnums.join(' ')}`,
      ]
    }
    case 'commit': {
      const { timestamp, stageIds, writes, ddl, decision } = record
      return [
        `commit at ${describeTimestamp(timestamp)}: stages ${stageIds.join(' ') || 'none'}`,
        ...(decision === undefined
          ? []
          : [`  decides ${decision.transactionId} for ${decision.participants.join(' ')}`]),
        ...describeWrites(writes),
        ...(ddl === undefined ? [] : [`  DDL: ${describeBytes(ddl)}`]),
      ]
    }
    case 'abort':
      return [`abort of stage ${record.stageId}`]
    case 'prepare': {
      const { transactionId, preparedAt, stageIds, writes, absentKeys, references } = record
      return [
        `prepare ${transactionId} at ${describeTimestamp(preparedAt)}: stages ${stageIds.join(' ') || 'none'}, ` +
          `${count(absentKeys.length, 'absent key')}, ${count(references.length, 'reference')}`,
        ...describeWrites(writes),
      ]
    }
    case 'finish': {
      const { transactionId, committedAt } = record
      const outcome =
        committedAt === undefined ? 'aborted' : `committed at ${describeTimestamp(committedAt)}`
      return [`finish ${transactionId}: ${outcome}`]
    }
  }
}

function describeWrites(
  writes: Extract<LogRecordContent, { readonly kind: 'commit' | 'prepare' }>['writes'],
): readonly string[] {
  return writes.map(
    ({ tableId, shard, incarnation, truncate, deletes }) =>
      `  table ${tableId} shard ${shard} (incarnation ${incarnation})${truncate ? ', truncated' : ''}, ` +
      `${count(deletes.length, 'delete')}${deletes.length === 0 ? '' : `: rows ${describeRuns(deletes)}`}`,
  )
}

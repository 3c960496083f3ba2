/** A file of the embedded log: its frames, and in each the records that the streaming node wrote. */
import { open } from 'node:fs/promises'
import { basename } from 'node:path'
import { describeTimestamp } from '#cli/inspect/describe.js'
import { print } from '#cli/print.js'
import { decodeLogRecord, type LogRecordContent } from '#nodes/streaming/log-record.js'
import { decodeRecords } from '#storage/wal/embedded/frame.js'
import { FrameReader } from '#storage/wal/embedded/frame-reader.js'
import { LogFile, logFileHeaderBytes, readLogFileHeader } from '#storage/wal/embedded/log-file.js'
import type { LogRecord } from '#storage/wal/wal.js'

const readBytes = 4 * 2 ** 20

export async function inspectLog(path: string, limit: number): Promise<void> {
  const base = Number.parseInt(basename(path, '.log'), 16)
  const handle = await open(path, 'r')
  try {
    const salt = await readLogFileHeader(handle, new LogFile(path, base, undefined))
    if (salt === undefined) return print('The header of this log file is damaged.')
    const { size } = await handle.stat()
    print(`log file from position ${base}, ${size.toLocaleString('en')} bytes`)
    const start = { offset: logFileHeaderBytes, position: base }
    const reader = new FrameReader(handle, salt, start, size, readBytes)
    let printed = 0
    for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
      for (const { offset, header } of batch.frames) {
        if (printed++ >= limit) continue
        const { firstPosition, recordCount, durablePosition, term } = header
        print(
          `@${batch.fileOffset + offset}  frame: positions ${firstPosition}–${firstPosition + recordCount - 1}, ` +
            `term ${term}, durable before ${durablePosition}`,
        )
        const records: LogRecord[] = []
        decodeRecords(batch.bytes, offset, header, 0, records)
        for (const line of describeRecords(records)) print(`    ${line}`)
      }
    }
    if (printed > limit) print(`… and ${printed - limit} frames more (--limit)`)
    print(
      `end: next position ${reader.position}; ${size - reader.offset} bytes after the last whole frame`,
    )
  } finally {
    await handle.close()
  }
}

/** The record after `rows` is their batch: plain bytes that only make sense with it. */
function describeRecords(records: readonly LogRecord[]): readonly string[] {
  const lines: string[] = []
  let isBatch = false
  for (const { position, payload } of records) {
    if (isBatch) {
      lines.push(`${position}: batch of ${payload.byteLength.toLocaleString('en')} bytes`)
      isBatch = false
      continue
    }
    const record = decodeLogRecord(payload)
    isBatch = record.kind === 'rows'
    lines.push(`${position}: ${describeRecord(record)}`)
  }
  return lines
}

function describeRecord(record: LogRecordContent): string {
  switch (record.kind) {
    case 'rows': {
      const { tableId, shard, incarnation, stageId, baseRowId, rowCount, attnums } = record
      return (
        `rows: ${rowCount} of table ${tableId} (shard ${shard}, incarnation ${incarnation}), row ids from ${baseRowId}, ` +
        `stage ${stageId}, columns ${attnums.join(' ')}`
      )
    }
    case 'commit': {
      const writes = record.writes.map(
        ({ tableId, shard, truncate, deletes }) =>
          `table ${tableId} shard ${shard}${truncate ? ', truncated' : ''}, ${deletes.length} deletes`,
      )
      const ddl = record.ddl === undefined ? '' : `, DDL of ${record.ddl.byteLength} bytes`
      const stages = `stages ${record.stageIds.join(' ') || 'none'}`
      return `commit at ${describeTimestamp(record.timestamp)}: ${stages}; ${writes.join('; ') || 'no writes'}${ddl}`
    }
    case 'abort':
      return `abort of stage ${record.stageId}`
  }
}

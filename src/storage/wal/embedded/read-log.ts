import { invariant } from '#base/errors.js'
import { logReadBatchBytes } from '#base/limits.js'
import { decodeRecords } from '#storage/wal/embedded/frame.js'
import { FrameReader, openForReading } from '#storage/wal/embedded/frame-reader.js'
import type { LogChannel } from '#storage/wal/embedded/log-channel.js'
import { corrupted, type LogFile, readLogFileHeader } from '#storage/wal/embedded/log-file.js'
import type { LogPosition, LogRecord } from '#storage/wal/wal.js'

/**
 * Records from `from` (or the first one not forgotten) to the end as it is now. A batch holds whole appends, payloads are views of the
 * batch's buffer at multiples of 8 bytes; a batch is about logReadBatchBytes, more if a single append is.
 * Truncation under way is fine: what it removes is skipped. @throws XX001
 */
export async function* readLog(
  channel: LogChannel,
  from: LogPosition,
): AsyncIterable<readonly LogRecord[]> {
  const endPosition = channel.endPosition
  const endOffset = channel.endOffset
  const files = [...channel.files]
  let position = Math.max(from, channel.startPosition)
  for (const [ordinal, file] of files.entries()) {
    const next = files[ordinal + 1]
    const end = next?.base ?? endPosition
    if (end <= position) continue
    for await (const records of readFile(channel, file, {
      from: position,
      endPosition: end,
      endOffset: next === undefined ? endOffset : undefined,
    })) {
      yield records
    }
    position = end
  }
}

interface Range {
  readonly from: LogPosition
  readonly endPosition: LogPosition
  /** undefined: the whole file. */
  readonly endOffset: number | undefined
}

async function* readFile(channel: LogChannel, file: LogFile, range: Range) {
  const handle = await openForReading(file.path)
  if (handle === undefined) {
    if (channel.startPosition >= range.endPosition) return
    throw corrupted(file.path, 'it is missing')
  }
  try {
    file.salt ??= await readLogFileHeader(handle, file)
    if (file.salt === undefined) throw corrupted(file.path, 'its header is damaged')
    const endOffset = range.endOffset ?? (await handle.stat()).size
    const mark = file.markBefore(range.from)
    const reader = new FrameReader(handle, file.salt, mark, endOffset, logReadBatchBytes)
    for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
      const records: LogRecord[] = []
      for (const { offset, header } of batch.frames) {
        file.mark(header.firstPosition, batch.fileOffset + offset)
        decodeRecords(batch.bytes, offset, header, range.from, records)
      }
      if (records.length > 0) yield records
    }
    if (reader.offset !== endOffset || reader.position !== range.endPosition) {
      throw corrupted(file.path, `position ${reader.position} cannot be read`)
    }
    invariant('WAL-1', reader.position >= range.from, 'a read ends at or after where it began')
  } finally {
    await handle.close()
  }
}

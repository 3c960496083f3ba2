/**
 * Opening a log channel after whatever happened.
 *
 * 1. The last log file is checked frame by frame up to the first bytes that are no valid frame.
 * 2. Nothing left: fine. Otherwise a crash tore the last write — or something acknowledged was damaged. Each frame says up
 *    to which position the log was durable before it was written: if a later valid frame says that the place in
 *    question was durable, or the channel was closed in order, it is damage: XX001. Otherwise the rest is cut off.
 * 3. The file is synced before anybody reads it: SIGKILL leaves frames in the page cache that no fsync has seen (WAL-1).
 *
 * What this cannot tell: damage to the very last synced group, with nothing written after it, looks like a torn write.
 */
import { type FileHandle, open, rm } from 'node:fs/promises'
import { logReadBatchBytes } from '#base/limits.js'
import { readAll, syncDirectory } from '#storage/durable-files.js'
import { type ChannelState, readChannelState } from '#storage/wal/embedded/channel-state.js'
import { decodeFrameHeader, frameMagic } from '#storage/wal/embedded/frame.js'
import { FrameReader } from '#storage/wal/embedded/frame-reader.js'
import {
  corrupted,
  type LogFile,
  listLogFiles,
  logFileHeaderBytes,
  readLogFileHeader,
} from '#storage/wal/embedded/log-file.js'

export interface Recovered {
  readonly state: ChannelState
  readonly files: LogFile[]
  /** Of the last file, open for reading and writing; undefined when there is none. */
  readonly handle: FileHandle | undefined
  readonly endPosition: number
  /** In the last file. */
  readonly endOffset: number
  readonly lastTerm: number
}

/** @throws DatabaseError XX001 */
export async function recoverChannel(directory: string): Promise<Recovered> {
  const state = await readChannelState(directory)
  const files = await listLogFiles(directory)
  await removeForgotten(directory, files, state.start)
  const first = files[0]
  if (first !== undefined && first.base > state.start) {
    throw corrupted(first.path, `the file before it, with position ${state.start}, is missing`)
  }
  for (;;) {
    const file = files.at(-1)
    if (file === undefined) {
      const known = Math.max(state.start, state.cleanEnd ?? 0)
      if (known > 0)
        throw corrupted(directory, `the file that ends at position ${known} is missing`)
      return { state, files, handle: undefined, endPosition: 0, endOffset: 0, lastTerm: 0 }
    }
    const handle = await open(file.path, 'r+')
    try {
      const end = await recoverLast(handle, file, state)
      if (end !== undefined) return { state, files, handle, ...end }
    } catch (error) {
      await handle.close()
      throw error
    }
    // Its header was never synced, so nothing in it was: the crash came while it was being created.
    await handle.close()
    await rm(file.path)
    await syncDirectory(directory)
    files.pop()
  }
}

/** Finishes a truncate that a crash interrupted: files that end at or before `start`. */
async function removeForgotten(directory: string, files: LogFile[], start: number): Promise<void> {
  let changed = false
  while (files.length > 1 && (files[1]?.base ?? 0) <= start) {
    const file = files.shift()
    if (file !== undefined) await rm(file.path, { force: true })
    changed = true
  }
  if (changed) await syncDirectory(directory)
}

async function recoverLast(handle: FileHandle, file: LogFile, state: ChannelState) {
  const fileBytes = (await handle.stat()).size
  const salt = await readLogFileHeader(handle, file)
  if (salt === undefined) {
    const isExpected = state.cleanEnd !== null && state.cleanEnd !== file.base
    if (fileBytes > logFileHeaderBytes || isExpected) {
      throw corrupted(file.path, 'its header is damaged')
    }
    return undefined
  }
  file.salt = salt
  const start = { offset: logFileHeaderBytes, position: file.base }
  const reader = new FrameReader(handle, salt, start, fileBytes, logReadBatchBytes)
  let lastTerm = 0
  for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) {
    for (const { offset, header } of batch.frames) {
      file.mark(header.firstPosition, batch.fileOffset + offset)
      lastTerm = header.term
    }
  }
  if (state.cleanEnd !== null && state.cleanEnd !== reader.position) {
    throw corrupted(file.path, `position ${reader.position} cannot be read`)
  }
  if (reader.offset < fileBytes) {
    const later = await findDurableAfter(handle, salt, reader.offset, fileBytes, reader.position)
    if (later !== undefined) {
      throw corrupted(file.path, `position ${reader.position} cannot be read, ${later} can`)
    }
    await handle.truncate(reader.offset)
  }
  await handle.sync()
  return { endPosition: reader.position, endOffset: reader.offset, lastTerm }
}

/** First position of a frame that was written when `position` was durable already. */
async function findDurableAfter(
  handle: FileHandle,
  salt: number,
  offset: number,
  endOffset: number,
  position: number,
): Promise<number | undefined> {
  const bytes = Buffer.allocUnsafeSlow(endOffset - offset)
  const filled = await readAll(handle, bytes, offset)
  const rest = bytes.subarray(0, filled)
  for (let at = rest.indexOf(frameMagic); at >= 0; at = rest.indexOf(frameMagic, at + 1)) {
    const header = decodeFrameHeader(rest, at, salt)
    if (header === 'invalid' || 'needBytes' in header) continue
    if (header.durablePosition > position) return header.firstPosition
  }
  return undefined
}

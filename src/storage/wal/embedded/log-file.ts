/**
 * A log file holds the frames of a run of positions. Header, little-endian:
 *
 * | offset | type  | meaning |
 * |--------|-------|---------|
 * | 0      | u8[8] | "ELANUSWL" |
 * | 8      | u32   | version: 1 |
 * | 12     | u32   | salt of the frames' checksums |
 * | 16     | f64   | position of the first record |
 * | 24     | u32   | 0 |
 * | 28     | u32   | CRC-32 of bytes 0 .. 27 |
 *
 * The name is that first position as 16 hexadecimal digits, so that names sort as positions do.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { DatabaseError, SqlState } from '#base/errors.js'
import { readAll, syncDirectory, writeAll } from '#storage/durable-files.js'

export const logFileHeaderBytes = 32
const fileMagic = 'ELANUSWL'
const version = 1
const suffix = '.log'
/** A place to start reading from is remembered every so many bytes. */
const markEveryBytes = 1024 * 1024

export interface Mark {
  readonly position: number
  readonly offset: number
}

/** What is known of a log file; `marks` grow as it is written or read. */
export class LogFile {
  readonly path: string
  readonly base: number
  /** undefined until the header was read. */
  salt: number | undefined
  readonly #marks: Mark[]

  constructor(path: string, base: number, salt: number | undefined) {
    this.path = path
    this.base = base
    this.salt = salt
    this.#marks = [{ position: base, offset: logFileHeaderBytes }]
  }

  /** Remembers that a frame begins there. */
  mark(position: number, offset: number): void {
    const last = this.#marks.at(-1)
    if (last === undefined || offset >= last.offset + markEveryBytes) {
      this.#marks.push({ position, offset })
    }
  }

  /** The last known beginning of a frame at or before the position. */
  markBefore(position: number): Mark {
    const found = this.#marks.findLast((mark) => mark.position <= position)
    return found ?? { position: this.base, offset: logFileHeaderBytes }
  }
}

export function corrupted(path: string, what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `log file "${path}" is corrupted: ${what}`, {
    hint: 'Restore the file from a backup. Do not remove it: later changes build on what it holds.',
  })
}

/** Makes an empty log file that is there after loss of power. The handle is the caller's to close. */
export async function createLogFile(
  directory: string,
  base: number,
  salt: number,
): Promise<{ file: LogFile; handle: FileHandle }> {
  const path = join(directory, base.toString(16).padStart(16, '0') + suffix)
  const handle = await open(path, 'w+', 0o600)
  try {
    const header = Buffer.alloc(logFileHeaderBytes)
    header.write(fileMagic, 0, 'latin1')
    header.writeUInt32LE(version, 8)
    header.writeUInt32LE(salt, 12)
    header.writeDoubleLE(base, 16)
    header.writeUInt32LE(crc32(header.subarray(0, 28)), 28)
    await writeAll(handle, [header], 0, false)
    await handle.sync()
    await syncDirectory(directory)
  } catch (error) {
    await handle.close()
    throw error
  }
  return { file: new LogFile(path, base, salt), handle }
}

/** undefined when the header is not whole. Any version: the caller judges it. */
export function decodeLogFileHeader(
  header: Buffer,
): { readonly version: number; readonly salt: number; readonly firstPosition: number } | undefined {
  if (header.length < logFileHeaderBytes) return undefined
  if (header.toString('latin1', 0, 8) !== fileMagic) return undefined
  if (crc32(header.subarray(0, 28)) !== header.readUInt32LE(28)) return undefined
  return {
    version: header.readUInt32LE(8),
    salt: header.readUInt32LE(12),
    firstPosition: header.readDoubleLE(16),
  }
}

/** @returns the salt, or undefined when the header is not whole. @throws XX001 for a version of the future */
export async function readLogFileHeader(
  handle: FileHandle,
  file: LogFile,
): Promise<number | undefined> {
  const bytes = Buffer.alloc(logFileHeaderBytes)
  if ((await readAll(handle, bytes, 0)) < logFileHeaderBytes) return undefined
  const header = decodeLogFileHeader(bytes)
  if (header === undefined) return undefined
  if (header.version !== version) {
    throw corrupted(file.path, `version ${header.version} is not known`)
  }
  if (header.firstPosition !== file.base) throw corrupted(file.path, 'it has a wrong name')
  return header.salt
}

/** The log files of the directory, in order of positions. */
export async function listLogFiles(directory: string): Promise<LogFile[]> {
  const names = (await readdir(directory)).filter((name) => /^[0-9a-f]{16}\.log$/.test(name))
  return names
    .sort()
    .map((name) => new LogFile(join(directory, name), Number.parseInt(name, 16), undefined))
}

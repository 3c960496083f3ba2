/**
 * The file `state` of a log channel: what is not in the log itself. Replaced atomically, one line of JSON, version 2:
 * {"version": 2, "term", "start", "cleanEnd", "checksum": CRC-32 of the line without it, as 8 hex digits}. Version 1 had no
 * checksum.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { DatabaseError, SqlState } from '#base/errors.js'
import { replaceFile } from '#storage/durable-files.js'
import { errnoOf } from '#storage/io-error.js'

export interface ChannelState {
  /** The highest term that ever had a writer. */
  readonly term: number
  /** Records before it are forgotten. */
  readonly start: number
  /**
   * Where the log ended when its writer was closed in order; null while there may be a writer. Then, and only then,
   * bytes after the last valid frame are what a crash left over.
   */
  readonly cleanEnd: number | null
}

const fileName = 'state'

/** A channel without the file was never written to. @throws XX001 */
export async function readChannelState(directory: string): Promise<ChannelState> {
  const path = join(directory, fileName)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { term: 0, start: 0, cleanEnd: null }
    throw error
  }
  const state = decodeChannelState(text)
  if (state === undefined) {
    throw new DatabaseError(SqlState.dataCorrupted, `file "${path}" is corrupted`)
  }
  return state
}

export async function writeChannelState(directory: string, state: ChannelState): Promise<void> {
  await replaceFile(join(directory, fileName), encodeChannelState(state))
}

export function encodeChannelState(state: ChannelState): string {
  return `${JSON.stringify({ ...contentOf(2, state), checksum: checksumOf(2, state) })}\n`
}

/** undefined when it is none, or not as it was written. */
export function decodeChannelState(text: string): ChannelState | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    if (!('version' in value && 'term' in value && 'start' in value && 'cleanEnd' in value)) {
      return undefined
    }
    const { version, term, start, cleanEnd } = value
    if (!isCount(term) || !isCount(start) || !(cleanEnd === null || isCount(cleanEnd))) {
      return undefined
    }
    const state = { term, start, cleanEnd }
    if (version === 1) return state
    const isWhole =
      version === 2 && 'checksum' in value && value.checksum === checksumOf(version, state)
    return isWhole ? state : undefined
  } catch {
    return undefined
  }
}

/** In this order: the checksum is of the text. */
function contentOf(version: number, { term, start, cleanEnd }: ChannelState) {
  return { version, term, start, cleanEnd }
}

function checksumOf(version: number, state: ChannelState): string {
  return crc32(JSON.stringify(contentOf(version, state)))
    .toString(16)
    .padStart(8, '0')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

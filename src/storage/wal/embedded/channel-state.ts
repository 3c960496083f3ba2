/** The file `state` of a log channel: what is not in the log itself. Replaced atomically, one line of JSON. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
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
  const state = parseState(text)
  if (state === undefined) {
    throw new DatabaseError(SqlState.dataCorrupted, `file "${path}" is corrupted`)
  }
  return state
}

export async function writeChannelState(directory: string, state: ChannelState): Promise<void> {
  const { term, start, cleanEnd } = state
  await replaceFile(
    join(directory, fileName),
    `${JSON.stringify({ version: 1, term, start, cleanEnd })}\n`,
  )
}

function parseState(text: string): ChannelState | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return undefined
    if (!('version' in value) || value.version !== 1) return undefined
    if (!('term' in value && 'start' in value && 'cleanEnd' in value)) return undefined
    const { term, start, cleanEnd } = value
    if (!isCount(term) || !isCount(start) || !(cleanEnd === null || isCount(cleanEnd))) {
      return undefined
    }
    return { term, start, cleanEnd }
  } catch {
    return undefined
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

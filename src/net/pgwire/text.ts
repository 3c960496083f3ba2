import { isUtf8 } from 'node:buffer'
import { DatabaseError } from '#base/errors.js'

const replacementCharacter = '\uFFFD'

/** Looks for the first sequence that is not UTF-8 and says so in PostgreSQL's words; undefined when all is well. */
export function invalidUtf8(bytes: Uint8Array): DatabaseError | undefined {
  if (isUtf8(bytes)) return undefined
  let at = 0
  while (at < bytes.length) {
    const length = sequenceLength(bytes[at] ?? 0)
    if (!isUtf8(bytes.subarray(at, at + length)) || at + length > bytes.length) break
    at += length
  }
  const shown = Array.from(bytes.subarray(at, at + sequenceLength(bytes[at] ?? 0)))
    .map((byte) => `0x${byte.toString(16).padStart(2, '0')}`)
    .join(' ')
  return new DatabaseError('22021', `invalid byte sequence for encoding "UTF8": ${shown}`)
}

/** Text of a value. @throws 22021 when the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  if (text.includes(replacementCharacter)) {
    const error = invalidUtf8(bytes)
    if (error !== undefined) throw error
  }
  return text
}

/** As pg_utf_mblen: how long the sequence that starts with this byte wants to be. */
function sequenceLength(lead: number): number {
  if ((lead & 0xe0) === 0xc0) return 2
  if ((lead & 0xf0) === 0xe0) return 3
  if ((lead & 0xf8) === 0xf0) return 4
  return 1
}

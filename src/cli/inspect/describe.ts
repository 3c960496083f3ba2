/** Values in words, as a person reads them. */
import { type Timestamp, timestampToUnixMs } from '#base/timestamp.js'

const shownTextMax = 2000
const shownBytesMax = 64

/** A timestamp of the oracle: the time of day, and its counter within that millisecond. */
export function describeTimestamp(timestamp: number): string {
  if (timestamp === Number.POSITIVE_INFINITY) return 'never'
  if (timestamp === 0) return 'the beginning'
  const unixMs = timestampToUnixMs(timestamp as Timestamp)
  // Damaged bytes may be any number; Date ends at 8.64e15.
  if (!(Math.abs(unixMs) <= 8.64e15)) return `no time (${timestamp})`
  return `${new Date(unixMs).toISOString()}+${((timestamp % 4096) + 4096) % 4096} (${timestamp})`
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? one : many}`
}

export function hex(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, shownBytesMax)).toString('hex')
  return bytes.length <= shownBytesMax ? `0x${shown}` : `0x${shown}… (${bytes.length} bytes)`
}

export function shorten(text: string, charactersMax = shownTextMax): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1)}…`
}

/** Numbers that follow each other as runs: 1–5, 9, 12–13. */
export function describeRuns(numbers: Iterable<number>, runsMax = 20): string {
  const runs: string[] = []
  let first: number | undefined
  let last = 0
  let left = 0
  const end = () => {
    if (first === undefined) return
    if (runs.length < runsMax) runs.push(first === last ? String(first) : `${first}–${last}`)
    else left += 1
  }
  for (const number of numbers) {
    if (first !== undefined && number === last + 1) {
      last = number
      continue
    }
    end()
    first = number
    last = number
  }
  end()
  return `${runs.join(', ')}${left > 0 ? ` and ${left} runs more` : ''}`
}

/** Bytes nobody here knows more about: JSON or text when they are, else hexadecimal. */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'nothing'
  const text = Buffer.from(bytes).toString('utf8')
  if (Buffer.compare(Buffer.from(text), bytes) !== 0) return hex(bytes)
  // Control characters would disturb the terminal.
  return /^[^\p{Cc}]*$/u.test(text.replace(/[\n\t]/g, ' ')) ? shorten(text) : hex(bytes)
}

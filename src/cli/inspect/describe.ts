import { type Timestamp, timestampToUnixMs } from '#base/timestamp.js'

/** A timestamp of the oracle as a person reads it: the time of day, and its counter within that millisecond. */
export function describeTimestamp(timestamp: number): string {
  if (!Number.isFinite(timestamp)) return 'never'
  if (timestamp === 0) return 'the beginning'
  const time = new Date(timestampToUnixMs(timestamp as Timestamp)).toISOString()
  return `${time}+${timestamp % 4096} (${timestamp})`
}

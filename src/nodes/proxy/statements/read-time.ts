/** At which timestamp a read sees the data: consistency levels, and reads in the past. */
import { DatabaseError, SqlState, unreachable } from '#base/errors.js'
import { type Timestamp, timestampFrom, timestampToUnixMs } from '#base/timestamp.js'
import { parseText } from '#engine/types/parse-text.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import type { SessionMemory } from '#nodes/proxy/session/memory.js'
import type { Settings } from '#nodes/proxy/session/settings.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'

/** Of a statement being executed, what decides. */
interface Reading {
  readonly environment: Pick<ProxyEnvironment, 'streaming' | 'runtime' | 'retentionMs'>
  readonly settings: Settings
  readonly transaction: Transaction
  readonly memory: SessionMemory
}

/** PostgreSQL counts from 2000-01-01. */
const unixMicrosecondsOf2000 = 946_684_800_000_000

type ConsistencyLevel = 'strong' | 'bounded' | 'session' | 'eventual'

/** @throws 72000, 22023, 25001 */
export async function newReadTimestamp(reading: Reading): Promise<Timestamp> {
  const { settings, memory, transaction } = reading
  const readTime = settings.get('elanus.read_time') ?? ''
  if (readTime !== '') {
    if (transaction.isDirty) {
      throw new DatabaseError(
        SqlState.activeSqlTransaction,
        'elanus.read_time cannot be used in a transaction that has changed something',
      )
    }
    return pastTimestamp(reading, readTime)
  }
  const chosen = await atLevel(reading)
  if (chosen > memory.lastSeen) memory.lastSeen = chosen
  return chosen
}

function atLevel({ environment, settings, memory }: Reading): Timestamp | Promise<Timestamp> {
  const { streaming, runtime } = environment
  const level = settings.get('elanus.consistency') as ConsistencyLevel
  switch (level) {
    case 'strong':
      return streaming.strongTimestamp()
    case 'bounded': {
      const oldest = runtime.nowMs() - settings.number('elanus.bounded_staleness')
      return later(streaming.readableTimestamp(), timestampFrom(Math.floor(oldest), 0))
    }
    case 'session':
      return later(streaming.readableTimestamp(), memory.lastSeen)
    case 'eventual':
      return streaming.readableTimestamp()
    default:
      return unreachable(level)
  }
}

function later(a: Timestamp, b: Timestamp): Timestamp {
  return a > b ? a : b
}

function pastTimestamp(reading: Reading, readTime: string): Timestamp {
  const nowMs = reading.environment.runtime.nowMs()
  const microseconds = readTime.startsWith('-')
    ? Math.floor(nowMs * 1000) + Number(readTime.slice(0, -2))
    : microsecondsOf(readTime)
  const unixMs = Math.floor(microseconds / 1000)
  if (unixMs > nowMs) {
    throw new DatabaseError(
      SqlState.invalidParameterValue,
      `elanus.read_time lies in the future: ${readTime}`,
    )
  }
  const counter = Math.floor(((microseconds - unixMs * 1000) * 4096) / 1000)
  const timestamp = timestampFrom(unixMs, counter)
  checkRetained(timestamp, reading)
  return timestamp
}

/** Since 1970. @param text '2026-11-21 10:00:00.123456+00' */
function microsecondsOf(text: string): number {
  const datum = parseText('timestamptz', -1, text)
  if (datum === undefined || datum === null) {
    throw new DatabaseError(SqlState.internalError, `unreadable time stamp ${text}`)
  }
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  return Number(view.getBigInt64(0)) + unixMicrosecondsOf2000
}

/** Rows that were deleted may be gone for readers further back. @throws 72000 */
export function checkRetained(
  timestamp: Timestamp,
  { environment }: Pick<Reading, 'environment'>,
): void {
  const { runtime, retentionMs } = environment
  if (timestampToUnixMs(timestamp) >= runtime.nowMs() - retentionMs) return
  throw new DatabaseError(SqlState.snapshotTooOld, 'snapshot too old', {
    detail: `Rows that were deleted are kept for ${retentionMs / 1000} s.`,
    hint: 'Start the server with a longer --retention, or read nearer to the present.',
  })
}

/** PostgreSQL reads the text: an instant, or an interval back from each read; '' turns it off. */
export function readTimeSql(value: string): string {
  const interval = /^\s*-|\bago\s*$/i.test(value)
  return interval
    ? `SELECT floor(extract(epoch FROM $1::interval) * 1000000)::bigint || 'us'`
    : `SELECT to_char($1::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"')`
}

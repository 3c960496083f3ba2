/** The rows of each live table, column by column as sql/live.sql declares them, in send format. */
import { unreachable } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import { int32Datum, int64Datum } from '#engine/columnar/read-datum.js'
import type { Progress } from '#nodes/proxy/session/progress.js'
import type { SessionRegistry } from '#nodes/proxy/session/registry.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import type { Postgres } from '#postgres/contract.js'

export type LiveTableName =
  | 'live_activity'
  | 'live_create_index'
  | 'live_copy'
  | 'live_segments'
  | 'live_relations'

/** Where the facts are. */
export interface LiveSources {
  readonly postgres: Postgres
  readonly streaming: Pick<StreamingNode, 'statistics'>
  readonly progress: Progress
  readonly sessions: SessionRegistry
}

export type LiveRow = readonly Datum[]

const encoder = new TextEncoder()
const text = (value: string): Datum => encoder.encode(value)
const int4 = (value: number): Datum => int32Datum(value)
const int8 = (value: number): Datum => int64Datum(BigInt(Math.trunc(value)))

/** Unix milliseconds → timestamptz: microseconds since 2000-01-01. */
function timestamptz(unixMs: number): Datum {
  return int64Datum((BigInt(Math.trunc(unixMs)) - 946_684_800_000n) * 1000n)
}

export async function liveRows(
  name: LiveTableName,
  environment: LiveSources,
): Promise<readonly LiveRow[]> {
  switch (name) {
    case 'live_activity':
      return activity(environment)
    case 'live_create_index':
      return environment.progress
        .entries()
        .filter((entry) => entry.command === 'create index')
        .map((entry) => [
          int4(entry.processId),
          int4(entry.table.oid),
          int4(entry.index?.indexOid ?? 0),
          text('CREATE INDEX'),
          text(entry.done === 0 ? 'initializing' : 'building index: loading tuples'),
          int8(entry.total),
          int8(entry.done),
        ])
    case 'live_copy':
      return environment.progress
        .entries()
        .filter((entry) => entry.command !== 'create index')
        .map((entry) => [
          int4(entry.processId),
          int4(entry.table.oid),
          text(entry.command === 'copy to' ? 'COPY TO' : 'COPY FROM'),
          text('PIPE'),
          int8(entry.total),
          int8(0),
          int8(entry.done),
        ])
    case 'live_segments':
      return segments(environment)
    case 'live_relations':
      return relations(environment)
    default:
      return unreachable(name)
  }
}

function activity(environment: LiveSources): readonly LiveRow[] {
  return environment.sessions.entries().map((entry) => {
    const { running, transactionStartMs } = entry.activity()
    return [
      int4(entry.processId),
      text(entry.user),
      text(entry.applicationName()),
      inet(entry.remoteHost),
      int4(entry.remotePort),
      timestamptz(entry.startedMs),
      transactionStartMs === undefined ? null : timestamptz(transactionStartMs),
      running.startedMs === 0 ? null : timestamptz(running.startedMs),
      text(
        running.active
          ? 'active'
          : transactionStartMs === undefined
            ? 'idle'
            : 'idle in transaction',
      ),
      text(running.sql),
      text('postgres'),
    ]
  })
}

/** inet_send: family 2, bits, not a cidr, length 4, address; NULL for what is not IPv4. */
function inet(host: string): Datum {
  const parts = host.split('.').map(Number)
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    return null
  return Uint8Array.of(2, 32, 0, 4, ...parts)
}

async function segments({ postgres, streaming }: LiveSources): Promise<readonly LiveRow[]> {
  const rows: LiveRow[] = []
  for (const table of postgres.catalog().tables.values()) {
    if (table.kind !== 'table') continue
    for (const segment of (await streaming.statistics(table.oid)).segments) {
      rows.push([
        int4(table.oid),
        int4(segment.shard),
        int8(segment.segmentId),
        text(segment.stage),
        int8(segment.rowCount),
        int8(segment.deletedCount),
        int8(segment.bytes),
        int8(segment.indexBytes),
      ])
    }
  }
  return rows
}

/** A table's row, and one for each vector index: its size under its own OID. */
async function relations({ postgres, streaming }: LiveSources): Promise<readonly LiveRow[]> {
  const rows: LiveRow[] = []
  for (const table of postgres.catalog().tables.values()) {
    if (table.kind !== 'table') continue
    const { liveRows: live, deadRows, bytes, indexBytes } = await streaming.statistics(table.oid)
    const allIndexes = [...indexBytes.values()].reduce((sum, size) => sum + size, 0)
    rows.push([int4(table.oid), int8(live), int8(deadRows), int8(bytes), int8(allIndexes)])
    for (const [oid, size] of indexBytes)
      rows.push([int4(oid), int8(live), int8(0), int8(size), int8(0)])
  }
  return rows
}

/** The rows of each live table, column by column as sql/live.sql declares them, in send format. */
import { unreachable } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { locks } from '#nodes/proxy/live/lock-rows.js'
import { channels, jobs, memory, nodes } from '#nodes/proxy/live/node-rows.js'
import { relations, segments } from '#nodes/proxy/live/relation-rows.js'
import { int4, int8, text, timestamptz } from '#nodes/proxy/live/send-format.js'

export type LiveTableName =
  | 'live_activity'
  | 'live_create_index'
  | 'live_copy'
  | 'live_locks'
  | 'live_segments'
  | 'live_relations'
  | 'live_channels'
  | 'live_jobs'
  | 'live_nodes'
  | 'live_memory'

/** No session has it. */
const backgroundPid = 0

export async function liveRows(
  name: LiveTableName,
  environment: LiveSources,
): Promise<readonly LiveRow[]> {
  switch (name) {
    case 'live_activity':
      return activity(environment)
    case 'live_create_index':
      return indexBuilds(environment)
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
    case 'live_locks':
      return locks(environment)
    case 'live_segments':
      return segments(environment)
    case 'live_relations':
      return relations(environment)
    case 'live_channels':
      return channels(environment)
    case 'live_jobs':
      return jobs(environment)
    case 'live_nodes':
      return nodes(environment)
    case 'live_memory':
      return memory(environment)
    default:
      return unreachable(name)
  }
}

/** Those that a statement waits for, and those that go on in the background. */
async function indexBuilds(environment: LiveSources): Promise<readonly LiveRow[]> {
  const { progress, postgres, streaming } = environment
  const rows: LiveRow[] = []
  const row = (pid: number, relid: number, indexOid: number, done: number, total: number): void => {
    const phase = done === 0 ? 'initializing' : 'building index: loading tuples'
    const numbers = [int4(pid), int4(relid), int4(indexOid)]
    rows.push([...numbers, text('CREATE INDEX'), text(phase), int8(total), int8(done)])
  }
  const awaited = new Set<number>()
  for (const { command, processId, table, index, done, total } of progress.entries()) {
    if (command !== 'create index' || index === undefined) continue
    awaited.add(index.indexOid)
    row(processId, table.oid, index.indexOid, done, total)
  }
  for (const { oid, kind, vectorIndexes } of postgres.catalog().tables.values()) {
    if (kind !== 'table' || vectorIndexes.length === 0) continue
    for (const [indexOid, { done, total }] of (await streaming.statistics(oid)).indexBuilds) {
      if (!awaited.has(indexOid)) row(backgroundPid, oid, indexOid, done, total)
    }
  }
  return rows
}

/** Of all proxies. */
async function activity({ sessions, others }: LiveSources): Promise<readonly LiveRow[]> {
  return [...sessions.facts(), ...((await others?.sessions()) ?? [])].map((fact) => [
    int4(fact.processId),
    text(fact.user),
    text(fact.applicationName),
    inet(fact.remoteHost),
    int4(fact.remotePort),
    timestamptz(fact.startedMs),
    fact.transactionStartMs === undefined ? null : timestamptz(fact.transactionStartMs),
    fact.queryStartMs === 0 ? null : timestamptz(fact.queryStartMs),
    text(fact.state),
    text(fact.sql),
    text('postgres'),
  ])
}

/** inet_send: family 2, bits, not a cidr, length 4, address; NULL for what is not IPv4. */
function inet(host: string): Datum {
  const parts = host.split('.').map(Number)
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    return null
  return Uint8Array.of(2, 32, 0, 4, ...parts)
}

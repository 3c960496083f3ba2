/** What a streaming node holds: tables, channels, the way to the log. No decisions here. */
import type { Mutex } from '#base/async/mutex.js'
import { DatabaseError, InvariantError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampFrom, timestampZero } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { Native } from '#engine/index/native.js'
import { GrowingSegment } from '#engine/segment/growing.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { DataNode } from '#nodes/data/contract.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { Channel, type Table } from '#nodes/streaming/channel.js'
import type { CommitQueue } from '#nodes/streaming/commit-queue.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import type { Decisions } from '#nodes/streaming/decisions.js'
import type { Garbage } from '#nodes/streaming/garbage.js'
import type { Hurry } from '#nodes/streaming/hurry.js'
import type { Jobs } from '#nodes/streaming/jobs.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import type { LogAppender } from '#nodes/streaming/log-appender.js'
import type { Ownership } from '#nodes/streaming/ownership.js'
import type { Transactions } from '#nodes/streaming/prepared.js'
import type { RecentReferences } from '#nodes/streaming/recent-references.js'
import type { SegmentIds } from '#nodes/streaming/segment-ids.js'
import type { Stage } from '#nodes/streaming/stage.js'
import type { WriteMemory } from '#nodes/streaming/write-memory.js'

export interface StreamingState {
  readonly logChannel: string
  /** Of the database: decides which shards are this node's. */
  readonly logChannelCount: number
  readonly runtime: Runtime
  readonly limits: StreamingLimits
  /** Shared by all streaming nodes of the process. */
  readonly memory: WriteMemory
  /** Sealing should not wait for its time. */
  readonly hurry: Hurry
  readonly native: Native
  readonly coordinator: Coordinator
  readonly queryNode: QueryNode
  readonly dataNode: DataNode
  readonly jobs: Jobs
  readonly log: LogAppender
  readonly ownership: Ownership
  readonly commits: CommitQueue
  readonly tables: Map<number, Table>
  /** Open ones: neither committed nor given up. */
  readonly stages: Map<number, Stage>
  readonly segmentIds: SegmentIds
  readonly garbage: Garbage
  readonly references: RecentReferences
  /** Over several log channels. */
  readonly transactions: Transactions
  readonly decisions: Decisions
  /** Newest timestamp given to a reader (or read at): no commit is stamped at or below (TS-3). */
  servedTime: Timestamp
  /** The last timestamp being fetched for a commit: see draw-timestamp.ts. */
  fetching: Promise<void> | undefined
  nextStageId: number
  /** A backup begins: until then (monotonic ms) the horizon does not move. */
  history: { readonly horizon: Timestamp; readonly untilMs: number }
  /** Position that the log begins at. */
  logStart: number
  /** DDL of commits in the log that the coordinator's DDL log is not known to have. */
  readonly unsettledDdl: Map<Timestamp, { readonly position: number; readonly ddl: Uint8Array }>
  /** The newest that was taken before this node opened, or in which it was asked for what is unsettled. */
  ddlTurn: number
  /** Flushes, one at a time. */
  readonly flushing: Mutex
  /** Index builds and merges, one at a time. */
  readonly building: Mutex
  /** Changes of what the coordinator and views say about flushed segments. */
  readonly switching: Mutex
  /** Aborted when the node begins to stop; the reason is the DatabaseError that is said then. */
  readonly stopping: AbortSignal
  /** Gives up: what is in the log must be read again. */
  readonly fail: (error: unknown) => void
  /** A transaction has been prepared. */
  onPrepared: () => void
  /** Set when the node can go on no more; everything is refused with it. */
  failure: DatabaseError | undefined
}

export function checkUsable(state: StreamingState): void {
  if (state.failure !== undefined) throw state.failure
}

export function tableOf(state: StreamingState, tableId: number): Table {
  const table = state.tables.get(tableId)
  if (table === undefined) {
    throw new DatabaseError(SqlState.undefinedTable, `relation with OID ${tableId} does not exist`)
  }
  return table
}

export function channelOf(state: StreamingState, tableId: number, shard: number): Channel {
  const table = tableOf(state, tableId)
  const channel = channelOfShard(table, shard)
  if (channel !== undefined) return channel
  if (shard < 0 || shard >= table.schema.shardCount) {
    throw new InvariantError('SHARD-1', `table ${tableId} has no shard ${shard}`)
  }
  throw new DatabaseError(
    SqlState.objectNotInPrerequisiteState,
    `shard ${shard} of relation "${table.schema.name}" is not on log channel ${state.logChannel}`,
  )
}

export function channelOfShard(table: Table, shard: number): Channel | undefined {
  const { channels, schema } = table
  // The usual case apart: the node has all shards.
  if (channels.length === schema.shardCount) return channels[shard]
  return channels.find((channel) => channel.shard === shard)
}

export function allChannels(state: StreamingState): Channel[] {
  return [...state.tables.values()].flatMap((table) => table.channels)
}

/** With channels for the shards that are this node's. */
export function createTable(
  { logChannel, logChannelCount }: Pick<StreamingState, 'logChannel' | 'logChannelCount'>,
  schema: TableSchema,
): Table {
  const channels: Channel[] = []
  for (let shard = 0; shard < schema.shardCount; shard += 1) {
    if (logChannelOf(schema.tableId, shard, logChannelCount) !== logChannel) continue
    channels.push(new Channel(schema.tableId, shard))
  }
  return { schema, channels }
}

/**
 * The growing segment of the channel that takes rows of this version of the table: the open one, or a new one. The caller
 * has made sure of a segment id (segment-ids.ts).
 */
export function growingFor(
  state: StreamingState,
  channel: Channel,
  schema: TableSchema,
): GrowingSegment {
  const open = channel.openGrowing()
  if (open?.accepts(schema)) {
    if (open.byteLength < state.limits.segmentBytesMax) return open
  }
  if (open !== undefined) open.closed = true
  const segment = new GrowingSegment({
    segmentId: state.segmentIds.take(),
    shard: channel.shard,
    schema,
    native: state.native.createSegment(),
  })
  segment.openedMs = state.runtime.monotonicMs()
  channel.switchView([...channel.view.growing, segment], channel.view.sealed)
  return segment
}

/** The newest timestamp at which everything acknowledged is readable. */
export function serviceTime(state: StreamingState): Timestamp {
  checkUsable(state)
  const { commits, coordinator } = state
  const time = commits.serviceBound() ?? coordinator.timestampNow() ?? commits.appliedTime
  if (time > state.servedTime) state.servedTime = time
  return time
}

/** What was deleted at or before may go: from then on reads before its deletion are refused. */
export function horizonOf(state: StreamingState): Timestamp {
  if (state.runtime.monotonicMs() < state.history.untilMs) return state.history.horizon
  const unixMs = state.runtime.nowMs() - state.limits.retentionMs
  return Math.max(timestampFrom(unixMs, 0), timestampZero) as Timestamp
}

/**
 * Rows deleted at or before may be left out of segments: the segment knows that their deletes are done
 * (SegmentManifest.deletesUntil), whatever of the log is replayed.
 * @param deletesUntil all commits at or before are applied
 */
export function removableUntil(
  state: StreamingState,
  deletesUntil: Timestamp = state.commits.appliedTime,
): Timestamp {
  return Math.min(horizonOf(state), deletesUntil) as Timestamp
}

/** The streaming node: owns the channels of a log channel. Each verb is a file of its own; here they are put together. */
import { Gate } from '#base/async/gate.js'
import { Mutex } from '#base/async/mutex.js'
import { backgroundContext } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { Native } from '#engine/index/native.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { DataNode } from '#nodes/data/contract.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { aggregate } from '#nodes/streaming/aggregate.js'
import { attach } from '#nodes/streaming/attach.js'
import { extendInterims, improve, seal, startBackground } from '#nodes/streaming/background.js'
import { buildIndex } from '#nodes/streaming/build-index.js'
import { saveAllDeletes, truncateLog } from '#nodes/streaming/checkpoint.js'
import { collect } from '#nodes/streaming/collect.js'
import { commit } from '#nodes/streaming/commit.js'
import { CommitQueue } from '#nodes/streaming/commit-queue.js'
import { compact } from '#nodes/streaming/compact.js'
import type { RecoveredDdl, StreamingNode } from '#nodes/streaming/contract.js'
import {
  findUnsettledDdl,
  recallDdl,
  recoveredDdl,
  settleDdl,
} from '#nodes/streaming/ddl-settings.js'
import { decide, outcome } from '#nodes/streaming/decide.js'
import { Decisions } from '#nodes/streaming/decisions.js'
import { expire, withoutExpired } from '#nodes/streaming/expire.js'
import { findConflict } from '#nodes/streaming/find-conflict.js'
import { finish } from '#nodes/streaming/finish.js'
import { closeGrowing, flushClosed } from '#nodes/streaming/flush.js'
import { Garbage } from '#nodes/streaming/garbage.js'
import { memoryHolder } from '#nodes/streaming/growing-memory.js'
import { Hurry } from '#nodes/streaming/hurry.js'
import { Jobs } from '#nodes/streaming/jobs.js'
import { defaultStreamingLimits, type StreamingLimits } from '#nodes/streaming/limits.js'
import { LogAppender } from '#nodes/streaming/log-appender.js'
import { ownedCoordinator } from '#nodes/streaming/owned-coordinator.js'
import { ownedWriter } from '#nodes/streaming/owned-writer.js'
import {
  exclusiveOwnership,
  type NotOwnerError,
  takeOwnership,
} from '#nodes/streaming/ownership.js'
import { prepare } from '#nodes/streaming/prepare.js'
import { Transactions } from '#nodes/streaming/prepared.js'
import { RecentReferences } from '#nodes/streaming/recent-references.js'
import { whileUsable } from '#nodes/streaming/record-segments.js'
import { recover } from '#nodes/streaming/recover.js'
import { scan } from '#nodes/streaming/scan.js'
import { search } from '#nodes/streaming/search.js'
import { SegmentIds } from '#nodes/streaming/segment-ids.js'
import {
  type Peers,
  settleTransactions,
  startSettling,
} from '#nodes/streaming/settle-transactions.js'
import { keepHistory, snapshot } from '#nodes/streaming/snapshot.js'
import { StagedCopy } from '#nodes/streaming/staged-copy.js'
import {
  allChannels,
  checkUsable,
  type StreamingState,
  serviceTime,
  tableOf,
} from '#nodes/streaming/state.js'
import { activity, statistics } from '#nodes/streaming/statistics.js'
import { dropTable, putTable } from '#nodes/streaming/tables.js'
import { WriteMemory } from '#nodes/streaming/write-memory.js'
import type { Wal } from '#storage/wal/wal.js'

export interface StreamingNodeOptions {
  /** Closed by whoever opened it, after stop(). */
  readonly wal: Wal
  readonly logChannel: string
  /** Log channels of the database: decides which shards are on this one. 1 unless given. */
  readonly logChannelCount?: number | undefined
  readonly coordinator: Coordinator
  readonly queryNode: QueryNode
  readonly dataNode: DataNode
  readonly native: Native
  readonly runtime: Runtime
  /**
   * 'exclusive': something else makes sure that nobody else owns the log channel (the data directory's lock). 'leased': there
   * may be another owner at any time. See ownership.ts.
   */
  readonly ownership?: 'exclusive' | 'leased' | undefined
  /** What rows may take that are not in objects yet; default: no bound. */
  readonly memory?: WriteMemory | undefined
  /** Nodes of other log channels, for transactions over several; without it their outcome is left to the proxies. */
  readonly peers?: Peers | undefined
  readonly limits?: Partial<StreamingLimits> | undefined
  /** 'manual': nothing happens by itself; tests call runBackground(). */
  readonly background?: 'automatic' | 'manual' | undefined
  /** Of the background; what fails is tried again. */
  readonly onBackgroundError?: ((error: unknown) => void) | undefined
  /** The node has failed and refuses everything: open another one, which replays the log. */
  readonly onFailure?: ((error: unknown) => void) | undefined
}

export interface LocalStreamingNode extends StreamingNode {
  /** DDL of commits that may not be in the coordinator's DDL log (crash between the two), oldest first. */
  readonly recoveredDdl: readonly RecoveredDdl[]
  /** stop() that waits for everything but open scans: they end with what they have. For a node that has failed. */
  abandon(): Promise<void>
  /** What the background would do: seal what is due, move the log's beginning, merge, build indexes. */
  runBackground(): Promise<void>
}

/** Takes over the log channel: an earlier owner can append no more (WAL-3). @throws StoreError, XX001 */
export async function openStreamingNode(
  options: StreamingNodeOptions,
): Promise<LocalStreamingNode> {
  const { wal, logChannel } = options
  const stopping = new AbortController()
  const state = await openState(options, stopping.signal)
  try {
    await recallDdl(state)
    await recover(state, wal, logChannel)
    await state.segmentIds.ensure(1)
  } catch (error) {
    await state.ownership.stop()
    throw error
  }
  const leaveMemory = state.memory.join(memoryHolder(state))
  const gate = new Gate()
  // Apart: a cursor that its client leaves open must not hold up recovery.
  const scans = new Gate()
  /** What waits for an outcome would wait for ever. */
  function letWaitingGo(): void {
    if (state.transactions.prepared.size === 0) return
    state.failure ??= stopped()
    state.commits.letGo()
  }

  async function abandon(): Promise<void> {
    stopping.abort(stopped())
    await background?.stop()
    await settling?.stop()
    const left = gate.close()
    state.onPrepared = letWaitingGo
    letWaitingGo()
    await left
    leaveMemory()
    await state.ownership.stop(state.failure === undefined ? servedBelow(state) : undefined)
    await state.log.close()
  }
  const background =
    options.background === 'manual'
      ? undefined
      : startBackground(state, wal, logChannel, options.onBackgroundError ?? (() => {}))
  const peers = options.peers ?? (() => undefined)
  const settling =
    options.background === 'manual' || options.peers === undefined
      ? undefined
      : startSettling(state, peers, options.onBackgroundError ?? (() => {}))
  return {
    recoveredDdl: recoveredDdl(state),
    async runBackground() {
      await seal(state, wal, logChannel)
      await extendInterims(state)
      await collect(state)
      await improve(state)
      await settleTransactions(state, peers, backgroundContext)
      await expire(state, backgroundContext)
    },
    ...reads(state, gate, scans),
    ...writes(state, gate),
    ...upkeep(state, gate, wal, logChannel),
    abandon,
    async stop() {
      await abandon()
      await scans.close()
      for (const channel of allChannels(state)) {
        for (const segment of channel.view.growing) segment.close()
      }
    },
  }
}

/** All that was answered here lies below. */
function servedBelow(state: StreamingState): Timestamp {
  return (Math.max(state.servedTime, state.commits.appliedTime) + 1) as Timestamp
}

async function openState(
  options: StreamingNodeOptions,
  stopping: AbortSignal,
): Promise<StreamingState> {
  const { wal, logChannel, coordinator, queryNode, dataNode, native, runtime } = options

  function fail(error: unknown): void {
    if (state.failure !== undefined) return
    state.failure = new DatabaseError(
      SqlState.adminShutdown,
      'terminating: the log is in an unknown state and must be read again',
      { cause: error },
    )
    state.commits.failAll(state.failure)
    options.onFailure?.(error)
  }

  function depose(error: NotOwnerError): void {
    if (state.failure !== undefined) return
    // Of what is under way nobody knows here.
    fail(error)
    state.failure = error
  }

  const writer = await wal.openWriter(logChannel)
  const { term } = writer
  const end = await wal.endPosition(logChannel)
  const isLeased = options.ownership === 'leased'
  const ownership = isLeased
    ? await takeOwnership({ coordinator, logChannel, term, runtime, onDeposed: depose })
    : exclusiveOwnership
  const jobs = new Jobs(runtime)
  const state: StreamingState = {
    logChannel,
    logChannelCount: options.logChannelCount ?? 1,
    runtime,
    limits: { ...defaultStreamingLimits, ...options.limits },
    memory: options.memory ?? new WriteMemory({ runtime }),
    hurry: new Hurry(),
    native,
    coordinator: whileUsable(
      isLeased
        ? ownedCoordinator(coordinator, logChannel, term, () => void ownership.findDeposed())
        : coordinator,
      () => state.failure,
    ),
    queryNode,
    dataNode: jobs.watched(dataNode),
    jobs,
    ownership,
    log: new LogAppender(
      isLeased ? ownedWriter(logChannel, writer, ownership, runtime, fail) : writer,
      end,
      fail,
    ),
    commits: new CommitQueue(fail),
    tables: new Map(),
    stages: new Map(),
    segmentIds: new SegmentIds(coordinator),
    garbage: new Garbage(),
    references: new RecentReferences(),
    transactions: new Transactions(),
    decisions: new Decisions(logChannel, term),
    servedTime: timestampZero,
    fetching: undefined,
    nextStageId: 1,
    history: { horizon: timestampZero, untilMs: Number.NEGATIVE_INFINITY },
    logStart: 0,
    unsettledDdl: new Map(),
    ddlTurn: 0,
    flushing: new Mutex(),
    building: new Mutex(),
    switching: new Mutex(),
    stopping,
    fail,
    onPrepared: () => {},
    failure: undefined,
  }
  return state
}

type Reads =
  | 'serviceTime'
  | 'findConflict'
  | 'search'
  | 'scan'
  | 'aggregate'
  | 'statistics'
  | 'activity'

function reads(state: StreamingState, gate: Gate, scans: Gate): Pick<StreamingNode, Reads> {
  return {
    serviceTime: () => serviceTime(state),
    findConflict: (write, context) =>
      inside(state, gate, () => findConflict(state, write, context)),
    search: (fragment, context) =>
      inside(state, gate, () => search(state, withoutExpired(state, fragment), context)),
    scan: (fragment, context) =>
      guarded(scans, () => scan(state, withoutExpired(state, fragment), context)),
    aggregate: (fragment, context) =>
      inside(state, gate, () => aggregate(state, withoutExpired(state, fragment), context)),
    statistics: (tableId) => inside(state, gate, async () => statistics(state, tableId)),
    activity: () => inside(state, gate, async () => activity(state)),
  }
}

type Writes =
  | 'putTable'
  | 'dropTable'
  | 'term'
  | 'commit'
  | 'prepare'
  | 'finish'
  | 'outcome'
  | 'unsettledDdl'
  | 'settleDdl'
  | 'stage'

function writes(state: StreamingState, gate: Gate): Pick<StreamingNode, Writes> {
  return {
    putTable: (schema) => inside(state, gate, () => putTable(state, schema)),
    dropTable: (tableId) => inside(state, gate, () => dropTable(state, tableId)),
    term: async () => state.log.term,
    commit: (request, context) =>
      inside(state, gate, () =>
        request.decides === undefined
          ? commit(state, request, context)
          : decide(state, request, request.decides, context),
      ),
    prepare: (transactionId, request, context) =>
      inside(state, gate, () => prepare(state, transactionId, request, context)),
    finish: (transactionId, committedAt) =>
      inside(state, gate, () => finish(state, transactionId, committedAt)),
    outcome: (transactionId) => inside(state, gate, async () => outcome(state, transactionId)),
    unsettledDdl: (turn, context) =>
      inside(state, gate, () => findUnsettledDdl(state, turn, context)),
    settleDdl: (timestamp) => inside(state, gate, () => settleDdl(state, timestamp)),
    stage: (tableId, shard) =>
      inside(state, gate, async () => new StagedCopy(state, tableId, shard)),
  }
}

function upkeep(
  state: StreamingState,
  gate: Gate,
  wal: Wal,
  logChannel: string,
): Pick<StreamingNode, 'flush' | 'buildIndex' | 'compact' | 'keepHistory' | 'snapshot' | 'attach'> {
  return {
    keepHistory: (forMs) => inside(state, gate, async () => keepHistory(state, forMs)),
    snapshot: (at, context) => inside(state, gate, () => snapshot(state, at, context)),
    attach: (shard, context) => inside(state, gate, () => attach(state, shard, context)),
    flush: (tableId, context) =>
      inside(state, gate, async () => {
        const channels =
          tableId === undefined ? allChannels(state) : tableOf(state, tableId).channels
        for (const channel of channels) {
          closeGrowing(channel)
          await flushClosed(state, channel, context)
          await saveAllDeletes(state, channel)
        }
        if (tableId === undefined) await truncateLog(state, wal, logChannel)
      }),
    buildIndex: (tableId, indexOid, onProgress, context, which) =>
      inside(state, gate, () => buildIndex(state, tableId, indexOid, onProgress, context, which)),
    compact: (tableId, context, scope) =>
      inside(state, gate, async () => {
        const report = await compact(state, tableId, context, scope)
        // The log, too, has rows that are in segments now, or gone.
        await truncateLog(state, wal, logChannel)
        return report
      }),
  }
}

async function inside<T>(state: StreamingState, gate: Gate, work: () => Promise<T>): Promise<T> {
  if (!gate.enter()) throw stopped()
  try {
    checkUsable(state)
    return await work()
  } finally {
    gate.leave()
  }
}

/** A scan is inside from its first row to its last. */
async function* guarded<Part, Summary>(
  gate: Gate,
  begin: () => AsyncGenerator<Part, Summary>,
): AsyncGenerator<Part, Summary> {
  if (!gate.enter()) throw stopped()
  try {
    return yield* begin()
  } finally {
    gate.leave()
  }
}

function stopped(): DatabaseError {
  return new DatabaseError(
    SqlState.adminShutdown,
    'terminating connection due to administrator command',
  )
}

/**
 * Many streaming nodes as one: a log channel is owned by one node, a shard of a table lies on one log channel. Knows
 * neither SQL nor sockets nor the catalog; each node may be far away and fail to answer (UnreachableError).
 *
 * Tables must have been made known here by putTable(): their keys say what a commit must assert elsewhere.
 */
import { setMaxListeners } from 'node:events'
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, SqlState, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { combineStatistics } from '#nodes/proxy/distribute/combine-statistics.js'
import { commitAcross, commitOn } from '#nodes/proxy/distribute/commit-across.js'
import { cutCommit } from '#nodes/proxy/distribute/cut-commit.js'
import { Layout, spansShards } from '#nodes/proxy/distribute/layout.js'
import { reach, reachScan } from '#nodes/proxy/distribute/reach.js'
import type {
  ChannelWrite,
  CommitRequest,
  CommitResult,
  KeyConflict,
  RecoveredDdl,
  StreamingActivity,
  StreamingNode,
} from '#nodes/streaming/contract.js'

type OfOneNode =
  | 'serviceTime'
  | 'term'
  | 'prepare'
  | 'finish'
  | 'outcome'
  | 'unsettledDdl'
  | 'settleDdl'
  | 'activity'

export interface UnsettledDdl extends RecoveredDdl {
  readonly logChannel: string
}

/** What the proxy sees of the streaming nodes. Verbs mean the same as in StreamingNode, over all that are concerned. */
export interface DistributedStreaming extends Omit<StreamingNode, OfOneNode> {
  /** Everything acknowledged before the call is visible at it. A read waits where it has not been reached yet. */
  strongTimestamp(): Timestamp | Promise<Timestamp>
  /** The newest timestamp at which a read waits nowhere. */
  readableTimestamp(): Timestamp
  /** Of every log channel. */
  activities(): Promise<readonly StreamingActivity[]>
  /** Of every log channel, by time. @throws 08006 when one has no owner that answers */
  unsettledDdl(turn: number, context: Context): Promise<readonly UnsettledDdl[]>
  settleDdl(unsettled: UnsettledDdl): Promise<void>
  /** A table that another proxy has made known to the nodes. */
  noteTable(schema: TableSchema): void
  /** A table that another proxy has dropped. */
  forgetTable(tableId: number): void
  /** The log channel that a shard lies on. */
  logChannelOf(tableId: number, shard: number): string
  /**
   * Participants of what was committed here have heard of it, or are away for a while already. Statistics do not count rows whose
   * participant has not heard; reads need not care, they wait there.
   */
  told(): Promise<void>
  /** Waits for what must still be told to participants, some seconds at most; nodes are not stopped. */
  stop(): Promise<void>
}

export interface DistributedStreamingOptions {
  /** By log channel. A remote owner may change behind its entry. */
  readonly nodes: ReadonlyMap<string, StreamingNode>
  readonly logChannelOf: (tableId: number, shard: number) => string
  readonly oracle: { timestamp(): Promise<Timestamp> }
  readonly runtime: Runtime
  /** Nodes of other processes know of commits that are not known here: the oracle alone says what a strong read must see. */
  readonly areRemote?: boolean | undefined
}

/** After the client has its answer, participants are told what became of their part: how long stop() waits for that. */
const stopWaitMs = 2000
const toldWaitMs = 1000

export function openDistributedStreaming(
  options: DistributedStreamingOptions,
): DistributedStreaming {
  const { nodes, runtime } = options
  const layout = new Layout(nodes, options.logChannelOf)
  const stopping = new AbortController()
  // As many as there are commits whose participants are away.
  setMaxListeners(0, stopping.signal)
  const background = new Set<Promise<void>>()
  const committing = {
    layout,
    runtime,
    stopping: stopping.signal,
    inBackground(work: Promise<void>): void {
      const ended: Promise<void> = work.finally(() => background.delete(ended))
      background.add(ended)
    },
  }
  return {
    ...timestamps(layout, options),
    ...reads(layout, runtime),
    ...tables(layout, runtime),
    ...upkeep(layout, runtime),
    stage: (tableId, shard) =>
      reach(runtime, backgroundContext, () => layout.owner(tableId, shard).stage(tableId, shard)),
    async commit(request: CommitRequest, context: Context): Promise<CommitResult> {
      const participants = cutCommit(layout, request)
      const [only] = participants
      if (only === undefined || participants.length > 1) {
        return await commitAcross(committing, participants, context)
      }
      const node = layout.node(only.logChannel)
      try {
        return await commitOn(runtime, node, only.request, context)
      } catch (error) {
        throw isLost(error) ? unknownOutcome(error) : error
      }
    },
    findConflict: (write, context) => findConflict(layout, runtime, write, context),
    activities: () =>
      Promise.all(
        layout.names.map((name) =>
          reach(runtime, backgroundContext, () => layout.node(name).activity()),
        ),
      ),
    async unsettledDdl(turn, context) {
      const found = layout.names.map(async (logChannel) => {
        const node = layout.node(logChannel)
        const ddl = await reach(runtime, context, () => node.unsettledDdl(turn, context))
        return ddl.map((one) => ({ ...one, logChannel }))
      })
      return (await Promise.all(found)).flat().sort((a, b) => a.timestamp - b.timestamp)
    },
    settleDdl: ({ logChannel, timestamp }) =>
      reach(runtime, backgroundContext, () => layout.node(logChannel).settleDdl(timestamp)),
    logChannelOf: options.logChannelOf,
    noteTable: (schema) => layout.put(schema),
    forgetTable: (tableId) => layout.drop(tableId),
    async told() {
      if (background.size === 0) return
      const isTold = new AbortController()
      const waited = runtime.sleep(toldWaitMs, isTold.signal).catch(() => {})
      await Promise.race([Promise.all(background), waited])
      isTold.abort()
    },
    async stop() {
      const waited = runtime.sleep(stopWaitMs, stopping.signal).catch(() => {})
      await Promise.race([Promise.all(background), waited])
      stopping.abort()
      await Promise.all(background)
    },
  }
}

function timestamps(
  layout: Layout,
  { oracle, areRemote }: DistributedStreamingOptions,
): Pick<DistributedStreaming, 'strongTimestamp' | 'readableTimestamp'> {
  const nodes = layout.names.map((name) => layout.node(name))
  const [first] = nodes
  const only = nodes.length === 1 && areRemote !== true ? first : undefined
  const readableTimestamp = (): Timestamp =>
    Math.min(...nodes.map((node) => node.serviceTime())) as Timestamp
  return {
    // With one log channel what is readable is all that was acknowledged, and nobody waits.
    strongTimestamp: only === undefined ? () => oracle.timestamp() : () => only.serviceTime(),
    readableTimestamp,
  }
}

type Reads = 'search' | 'scan' | 'aggregate' | 'statistics'

function reads(layout: Layout, runtime: Runtime): Pick<DistributedStreaming, Reads> {
  return {
    search: (fragment, context) =>
      reach(runtime, context, () =>
        layout.owner(fragment.tableId, fragment.shard).search(fragment, context),
      ),
    scan: (fragment, context) => {
      const node = layout.owner(fragment.tableId, fragment.shard)
      return reachScan(runtime, context, () => node.scan(fragment, context), { segments: [] })
    },
    aggregate: (fragment, context) =>
      reach(runtime, context, () =>
        layout.owner(fragment.tableId, fragment.shard).aggregate(fragment, context),
      ),
    statistics: async (tableId) => {
      const parts = layout
        .nodesOf(tableId)
        .map((node) => reach(runtime, backgroundContext, () => node.statistics(tableId)))
      return combineStatistics(await Promise.all(parts))
    },
  }
}

function tables(
  layout: Layout,
  runtime: Runtime,
): Pick<DistributedStreaming, 'putTable' | 'dropTable'> {
  return {
    async putTable(schema: TableSchema) {
      layout.put(schema)
      // One after the other: they share what is remembered of the table.
      for (const node of layout.nodesOf(schema.tableId)) {
        await reach(runtime, backgroundContext, () => node.putTable(schema))
      }
    },
    async dropTable(tableId) {
      const nodes = layout.nodesOf(tableId)
      for (const node of nodes)
        await reach(runtime, backgroundContext, () => node.dropTable(tableId))
      layout.drop(tableId)
    },
  }
}

type Upkeep = 'flush' | 'buildIndex' | 'compact' | 'keepHistory' | 'snapshot' | 'attach'

function upkeep(layout: Layout, runtime: Runtime): Pick<DistributedStreaming, Upkeep> {
  const onEach = async <T>(
    tableId: number | undefined,
    context: Context,
    work: (node: StreamingNode, i: number) => Promise<T>,
  ): Promise<T[]> => {
    const nodes = layout.nodesOf(tableId)
    return await Promise.all(nodes.map((node, i) => reach(runtime, context, () => work(node, i))))
  }
  return {
    async keepHistory(forMs) {
      await onEach(undefined, backgroundContext, (node) => node.keepHistory(forMs))
    },
    async snapshot(at, context) {
      return (await onEach(undefined, context, (node) => node.snapshot(at, context))).flat()
    },
    attach: (shard, context) =>
      reach(runtime, context, () =>
        layout.owner(shard.tableId, shard.shard).attach(shard, context),
      ),
    async flush(tableId, context) {
      await onEach(tableId, context, (node) => node.flush(tableId, context))
    },
    async buildIndex(tableId, indexOid, onProgress, context, which) {
      const done: number[] = []
      const total: number[] = []
      await onEach(tableId, context, (node, i) =>
        node.buildIndex(
          tableId,
          indexOid,
          (nodeDone, nodeTotal) => {
            done[i] = nodeDone
            total[i] = nodeTotal
            onProgress(sum(done), sum(total))
          },
          context,
          which,
        ),
      )
    },
    async compact(tableId, context, scope) {
      const reports = await onEach(tableId, context, (node) =>
        node.compact(tableId, context, scope),
      )
      return {
        removedRows: sum(reports.map(({ removedRows }) => removedRows)),
        mergedSegments: sum(reports.map(({ mergedSegments }) => mergedSegments)),
        writtenSegments: sum(reports.map(({ writtenSegments }) => writtenSegments)),
        freedBytes: sum(reports.map(({ freedBytes }) => freedBytes)),
      }
    },
  }
}

/** One append, one answer, and it did not come. */
function isLost(error: unknown): boolean {
  return error instanceof UnreachableError && error.outcome === 'indeterminate'
}

function unknownOutcome(cause: unknown): DatabaseError {
  return new DatabaseError(
    SqlState.transactionResolutionUnknown,
    'the server lost touch with a node: it is not known whether the transaction has been committed',
    { hint: 'Look whether its rows are there before trying again.', cause },
  )
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0)
}

/** A node looks through all its shards of the table for keys that may be in any; the other nodes are asked, too. */
async function findConflict(
  layout: Layout,
  runtime: Runtime,
  write: ChannelWrite,
  context: Context,
): Promise<KeyConflict | undefined> {
  const { tableId, shard } = write
  const own = layout.logChannelOf(tableId, shard)
  const schema = layout.table(tableId)
  const anywhere = schema?.keys.some((key) => spansShards(schema, key)) === true
  const firstShards = anywhere ? layout.logChannelsOf(tableId) : new Map([[own, shard]])
  const found = await Promise.all(
    [...firstShards].map(([logChannel, firstShard]) => {
      const there = logChannel === own ? write : { ...write, shard: firstShard }
      return reach(runtime, context, () => layout.node(logChannel).findConflict(there, context))
    }),
  )
  return found.find((conflict) => conflict !== undefined)
}

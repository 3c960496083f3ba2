/**
 * The owner of a log channel in another process. Who that is is asked anew for each call; what it says is not its own to do,
 * or not now (57P03), has certainly not happened and may be asked of the next owner: UnreachableError, determinate.
 */
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, SqlState, UnreachableError } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { AggregatePart, ScanPart, ScanSummary, SearchPart } from '#engine/plan/fragment.js'
import { callLong } from '#net/rpc/long-call.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type {
  ChannelSnapshot,
  CommitRequest,
  CommitResult,
  CompactionReport,
  KeyConflict,
  Outcome,
  RecoveredDdl,
  StagedRows,
  StreamingActivity,
  StreamingNode,
  TableStatistics,
} from '#nodes/streaming/contract.js'
import type { TravellingRequest } from '#nodes/streaming/serve.js'

export interface RemoteStreamingOptions {
  readonly logChannel: string
  /** The owner's process; undefined: nobody owns the log channel now. */
  readonly find: () => RpcClient | undefined
}

export interface RemoteStreamingNode extends StreamingNode {
  /** Asks for what serviceTime() then says. */
  refreshServiceTime(context: Context): Promise<void>
}

export function remoteStreaming({ logChannel, find }: RemoteStreamingOptions): RemoteStreamingNode {
  const target = { contract: 'streaming', object: logChannel }
  /** Only rises, also when the owner changes: it is what was readable. */
  let known = timestampZero

  function owner(): RpcClient {
    const client = find()
    if (client !== undefined) return client
    throw new UnreachableError('determinate', `nobody owns log channel "${logChannel}" now`)
  }

  async function call(method: string, args: readonly unknown[], context = backgroundContext) {
    try {
      return await owner().call(target, method, args, context)
    } catch (error) {
      throw seenFromHere(error)
    }
  }

  async function long(
    method: string,
    args: readonly unknown[],
    context: Context,
    onReport?: (value: unknown) => void,
  ): Promise<unknown> {
    try {
      return await callLong(owner(), target, method, args, context, onReport)
    } catch (error) {
      throw seenFromHere(error)
    }
  }

  function note(at: Timestamp): void {
    if (at > known) known = at
  }

  return {
    serviceTime: () => known,
    async refreshServiceTime(context) {
      note((await call('serviceTime', [], context)) as Timestamp)
    },
    putTable: async (schema) => void (await call('putTable', [schema])),
    dropTable: async (tableId) => void (await call('dropTable', [tableId])),
    term: async () => (await call('term', [])) as number,
    async commit(request, context) {
      const result = (await call('commit', [travelling(request)], context)) as CommitResult
      note(result.timestamp)
      end(request.staged)
      return result
    },
    prepare: async (transactionId, request, context) =>
      (await call('prepare', [transactionId, travelling(request)], context)) as {
        readonly preparedAt: Timestamp
      },
    finish: async (transactionId, committedAt) =>
      void (await call('finish', [transactionId, committedAt])),
    outcome: async (transactionId) => (await call('outcome', [transactionId])) as Outcome,
    unsettledDdl: async (turn, context) =>
      (await call('unsettledDdl', [turn], context)) as readonly RecoveredDdl[],
    settleDdl: async (timestamp) => void (await call('settleDdl', [timestamp])),
    async stage(tableId, shard) {
      try {
        const client = owner()
        const lasting = client.stream(target, 'stage', [tableId, shard], backgroundContext)
        const first = await lasting.next()
        return new RemoteStage(client, logChannel, tableId, shard, first.value as number, lasting)
      } catch (error) {
        throw seenFromHere(error)
      }
    },
    findConflict: async (write, context) =>
      (await call('findConflict', [write], context)) as KeyConflict | undefined,
    search: async (fragment, context) => (await call('search', [fragment], context)) as SearchPart,
    async *scan(fragment, context) {
      try {
        const parts = owner().stream(target, 'scan', [fragment], context)
        return yield* parts as AsyncGenerator<ScanPart, ScanSummary>
      } catch (error) {
        throw seenFromHere(error)
      }
    },
    aggregate: async (fragment, context) =>
      (await call('aggregate', [fragment], context)) as AggregatePart,
    flush: async (tableId, context) => void (await long('flush', [tableId], context)),
    async buildIndex(tableId, indexOid, onProgress, context, which) {
      await long('buildIndex', [tableId, indexOid, which], context, (report) => {
        const [done, total] = report as [number, number]
        onProgress(done, total)
      })
    },
    compact: async (tableId, context, scope) =>
      (await long('compact', [tableId, scope], context)) as CompactionReport,
    keepHistory: async (forMs) => void (await call('keepHistory', [forMs])),
    snapshot: async (at, context) =>
      (await long('snapshot', [at], context)) as readonly ChannelSnapshot[],
    attach: async (shard, context) => void (await long('attach', [shard], context)),
    statistics: async (tableId) => (await call('statistics', [tableId])) as TableStatistics,
    activity: async () => (await call('activity', [])) as StreamingActivity,
    // It goes on: it is not ours.
    stop: async () => {},
  }
}

/** Rows at the node that opened the stage, whoever owns the log channel later: then they are lost, and the commit is refused. */
class RemoteStage implements StagedRows {
  readonly tableId: number
  readonly shard: number
  readonly id: number
  rowCount = 0
  readonly #client: RpcClient
  readonly #logChannel: string
  readonly #lasting: AsyncGenerator<unknown, unknown>

  constructor(
    client: RpcClient,
    logChannel: string,
    tableId: number,
    shard: number,
    id: number,
    lasting: AsyncGenerator<unknown, unknown>,
  ) {
    this.#client = client
    this.#logChannel = logChannel
    this.tableId = tableId
    this.shard = shard
    this.id = id
    this.#lasting = lasting
  }

  async append(batch: ColumnBatch, context = backgroundContext): Promise<void> {
    const target = { contract: 'streaming', object: this.#logChannel }
    const { id } = this
    this.rowCount = (await this.#client.call(target, 'append', [id, batch], context)) as number
  }

  async abort(): Promise<void> {
    const target = { contract: 'streaming', object: this.#logChannel }
    try {
      await this.#client.call(target, 'abort', [this.id], backgroundContext)
    } catch (error) {
      // A node that does not hear it sees the stream end.
      if (!(error instanceof UnreachableError)) throw error
    } finally {
      await this.end()
    }
  }

  /** The node gives up what is part of nothing. */
  async end(): Promise<void> {
    await this.#lasting.return(undefined)
  }
}

function travelling(request: CommitRequest): TravellingRequest {
  return { ...request, staged: request.staged.map(idOf) }
}

function idOf(stage: StagedRows): number {
  if (stage instanceof RemoteStage) return stage.id
  throw new TypeError('staged rows of this process do not travel')
}

/** They are part of the commit now: nothing is given up. */
function end(staged: readonly StagedRows[]): void {
  for (const stage of staged) if (stage instanceof RemoteStage) void stage.end()
}

function seenFromHere(error: unknown): unknown {
  if (!(error instanceof DatabaseError)) return error
  if (error.sqlState === SqlState.cannotConnectNow) {
    return new UnreachableError('determinate', error.message, error)
  }
  // It stops or has failed: whoever owns the log channel next knows what happened.
  if (error.sqlState === SqlState.adminShutdown) {
    return new UnreachableError('indeterminate', error.message, error)
  }
  return error
}

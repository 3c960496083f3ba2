/**
 * A streaming node as other processes call it: the table of its methods; remote.ts is the other side.
 *
 * Staged rows lie here under a number, for as long as the stream lasts by which they were opened: when the caller goes, the rows
 * that are part of no commit are given up.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { AggregateFragment, ScanFragment, SearchFragment } from '#engine/plan/fragment.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { serveLong } from '#net/rpc/long-call.js'
import type {
  AttachedShard,
  ChannelWrite,
  CommitRequest,
  CompactionScope,
  StagedRows,
  StreamingNode,
} from '#nodes/streaming/contract.js'

/** As it travels: staged rows are named by their numbers. */
export type TravellingRequest = Omit<CommitRequest, 'staged'> & {
  readonly staged: readonly number[]
}

export function serveStreaming(node: StreamingNode): ServedContract {
  const stages = new Map<number, StagedRows>()
  let nextStage = 1

  function stageOf(id: number): StagedRows {
    const stage = stages.get(id)
    if (stage !== undefined) return stage
    throw new DatabaseError(
      SqlState.serializationFailure,
      'could not serialize access: rows on their way were lost with the node that had them',
      { hint: 'Try the transaction again.' },
    )
  }

  function arrived(request: TravellingRequest): CommitRequest {
    return { ...request, staged: request.staged.map(stageOf) }
  }

  return {
    serviceTime: async () => node.serviceTime(),
    putTable: ([schema]) => node.putTable(schema as TableSchema),
    dropTable: ([tableId]) => node.dropTable(tableId as number),
    term: () => node.term(),
    commit: async ([request], context) =>
      node.commit(arrived(request as TravellingRequest), context),
    prepare: async ([transactionId, request], context) =>
      node.prepare(transactionId as string, arrived(request as TravellingRequest), context),
    finish: ([transactionId, committedAt]) =>
      node.finish(transactionId as string, committedAt as Timestamp | undefined),
    outcome: ([transactionId]) => node.outcome(transactionId as string),
    unsettledDdl: ([turn], context) => node.unsettledDdl(turn as number, context),
    settleDdl: ([timestamp]) => node.settleDdl(timestamp as Timestamp),
    async *stage([tableId, shard], { signal }) {
      const stage = await node.stage(tableId as number, shard as number)
      const id = nextStage
      nextStage += 1
      stages.set(id, stage)
      try {
        yield id
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve()
          else signal.addEventListener('abort', () => resolve(), { once: true })
        })
      } finally {
        stages.delete(id)
        await giveUp(stage)
      }
    },
    append: async ([id, batch], context) => {
      const stage = stageOf(id as number)
      await stage.append(batch as ColumnBatch, context)
      return stage.rowCount
    },
    abort: async ([id]) => await stages.get(id as number)?.abort(),
    findConflict: ([write], context) => node.findConflict(write as ChannelWrite, context),
    search: ([fragment], context) => node.search(fragment as SearchFragment, context),
    scan: ([fragment], context) => node.scan(fragment as ScanFragment, context),
    aggregate: ([fragment], context) => node.aggregate(fragment as AggregateFragment, context),
    flush: ([tableId], context) =>
      serveLong(() => node.flush(tableId as number | undefined, context)),
    buildIndex: ([tableId, indexOid, which], context) =>
      serveLong((report) =>
        node.buildIndex(
          tableId as number,
          indexOid as number,
          (done, total) => report([done, total]),
          context,
          which as 'missing' | 'all' | undefined,
        ),
      ),
    compact: ([tableId, scope], context) =>
      serveLong(() =>
        node.compact(tableId as number, context, scope as CompactionScope | undefined),
      ),
    keepHistory: ([forMs]) => node.keepHistory(forMs as number),
    snapshot: ([at], context) => serveLong(() => node.snapshot(at as Timestamp, context)),
    attach: ([shard], context) => serveLong(() => node.attach(shard as AttachedShard, context)),
    statistics: ([tableId]) => node.statistics(tableId as number),
    activity: () => node.activity(),
  }
}

/** Nobody is there to hear why it cannot be. */
async function giveUp(stage: StagedRows): Promise<void> {
  await stage.abort().catch(() => {})
}

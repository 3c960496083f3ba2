/**
 * Replay of transactions over several log channels on nodes that do not decide: what a prepare record names is kept aside until
 * its finish record comes. What has none at the end is undecided: it holds what it held before, and the node asks.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { TransactionId } from '#nodes/streaming/contract.js'
import { applyFinished } from '#nodes/streaming/finish.js'
import { createPrepared, enterPrepared } from '#nodes/streaming/prepare.js'
import type { FinishRecord, PrepareRecord } from '#nodes/streaming/prepare-record.js'
import { type HeldWrite, hold, type PreparedTransaction } from '#nodes/streaming/prepared.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { channelOfShard, type StreamingState } from '#nodes/streaming/state.js'
import type { LogPosition } from '#storage/wal/wal.js'

export class ReplayPrepared {
  readonly #state: StreamingState
  readonly #prepared = new Map<TransactionId, PreparedTransaction>()

  constructor(state: StreamingState) {
    this.#state = state
  }

  prepare(record: PrepareRecord, position: LogPosition, stages: readonly Stage[]): void {
    const writes = record.writes.flatMap(({ tableId, shard, truncate, deletes }): HeldWrite[] => {
      const table = this.#state.tables.get(tableId)
      const channel = table === undefined ? undefined : channelOfShard(table, shard)
      // Below the checkpoint: decided, and all of it is in sealed segments and deletes objects.
      if (channel === undefined || position < channel.checkpoint) return []
      return [{ channel, truncate, deletes }]
    })
    const { transactionId, preparedAt, absentKeys, references } = record
    const held = { writes, stages, absentKeys, references }
    const prepared = createPrepared(transactionId, preparedAt, held, [], -Infinity)
    prepared.position = position
    this.#prepared.set(transactionId, prepared)
  }

  /** One without a prepare record: the log has forgotten that, or there was none. */
  finish({ transactionId, committedAt }: FinishRecord): void {
    const prepared = this.#prepared.get(transactionId)
    this.#prepared.delete(transactionId)
    const outcome = committedAt === undefined ? 'aborted' : 'committed'
    if (prepared === undefined) this.#state.transactions.noteFinished(transactionId, outcome)
    else applyFinished(this.#state, prepared, this.#timeOf(prepared, committedAt))
  }

  /** A ghost's finish record says when the first was committed: finish.ts. */
  #timeOf(
    { timestamp }: PreparedTransaction,
    committedAt: Timestamp | undefined,
  ): Timestamp | undefined {
    return committedAt !== undefined && committedAt > timestamp ? committedAt : undefined
  }

  end(): void {
    for (const prepared of this.#prepared.values()) {
      for (const stage of prepared.held.stages) this.#state.stages.set(stage.stageId, stage)
      hold(this.#state.transactions, prepared.held, prepared)
      enterPrepared(this.#state, prepared)
    }
    this.#prepared.clear()
  }
}

/** Rows of a COPY under way: checked, staged and sent to the log as they come. */
import { Mutex } from '#base/async/mutex.js'
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { encodeBatch } from '#engine/columnar/batch-codec.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import {
  checkInserts,
  type InsertCheck,
  prepareInserts,
  type Removed,
} from '#nodes/streaming/check-inserts.js'
import type { StagedRows } from '#nodes/streaming/contract.js'
import { createStage, dropStage, enterRows } from '#nodes/streaming/enter-rows.js'
import { admitRows } from '#nodes/streaming/growing-memory.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { channelOf, checkUsable, type StreamingState, tableOf } from '#nodes/streaming/state.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'

const nothingRemoved: Removed = { deletes: new Float64Array(0), truncate: false }

/** Staged rows of a COPY, as the proxy holds them. */
export class StagedCopy implements StagedRows {
  readonly stage: Stage
  readonly #state: StreamingState
  readonly #entering = new Mutex()
  #bytesUnderWay = 0
  readonly #underWay = new Set<Promise<void>>()
  #error: unknown
  #ended: 'open' | 'committed' | 'aborted' = 'open'

  constructor(state: StreamingState, tableId: number, shard: number) {
    this.#state = state
    this.stage = createStage(state, channelOf(state, tableId, shard))
  }

  get tableId(): number {
    return this.stage.channel.tableId
  }
  get shard(): number {
    return this.stage.channel.shard
  }
  get rowCount(): number {
    return this.stage.rowCount
  }

  /** Resolves when the rows are on their way to the log and not too much else is. */
  append(batch: ColumnBatch, context: Context = backgroundContext): Promise<void> {
    return this.#entering.run(async () => {
      if (batch.rowCount === 0) return
      const encoded = encodeBatch(batch)
      const room = admitRows(this.#state, [encoded], context)
      if (room !== undefined) await room
      await this.#enter(batch, encoded)
      while (this.#bytesUnderWay > this.#state.limits.stageBytesInFlightMax) {
        await Promise.race(this.#underWay)
      }
      this.checkOpen()
    })
  }

  async #enter(batch: ColumnBatch, encoded: Uint8Array): Promise<void> {
    const state = this.#state
    const { stage } = this
    for (;;) {
      this.checkOpen()
      const table = tableOf(state, this.tableId)
      const check: InsertCheck = prepareInserts(table, stage.channel, [batch])
      await check.lookUp(state, backgroundContext)
      if (!state.segmentIds.has(1)) await state.segmentIds.ensure(1)
      this.checkOpen()
      const verdict = checkInserts(state, check, {
        removedFrom: () => nothingRemoved,
        ownStages: new Set([stage.stageId]),
      })
      if (verdict.kind === 'error') throw verdict.error
      if (verdict.kind === 'wait') {
        await verdict.on.settled
        continue
      }
      if (verdict.kind === 'again') continue
      const base = stage.channel.nextRowId
      const payloads = enterRows(state, stage, batch, encoded)
      this.#markSuspects(verdict.suspectRows, base)
      this.#send(payloads, encoded.byteLength)
      return
    }
  }

  /** Rows of ours that share a key with another open stage: the later to commit finds out. */
  #markSuspects(rows: readonly number[], baseRowId: number): void {
    const segment = this.stage.channel.openGrowing()
    if (segment === undefined) return
    for (const row of rows) this.stage.suspect(segment, segment.locate(baseRowId + row))
  }

  #send(payloads: readonly Uint8Array[], bytes: number): void {
    this.#bytesUnderWay += bytes
    const sent: Promise<void> = this.#state.log
      .append(payloads)
      .catch((error: unknown) => {
        this.#error ??= storeFailure(error)
      })
      .finally(() => {
        this.#bytesUnderWay -= bytes
        this.#underWay.delete(sent)
      })
    this.#underWay.add(sent)
  }

  /** Waits until every row is durable; from then on nothing can be appended but by the commit's failing. */
  async durable(): Promise<void> {
    await this.#entering.run(async () => {
      while (this.#underWay.size > 0) await Promise.all(this.#underWay)
    })
    this.checkOpen()
  }

  committed(): void {
    this.#ended = 'committed'
    // Its rows came before others that have committed since.
    for (const segment of this.stage.segments) segment.versionsMixed = true
  }

  /** With the prepared transaction that has them. */
  dropped(): void {
    this.#ended = 'aborted'
  }

  async abort(): Promise<void> {
    const { committing } = this.stage
    // Whoever held them has gone while they were being committed: the commit decides, and if it fails they go.
    if (committing?.kind === 'commit') await committing.settled
    if (this.#ended !== 'open') return
    // Prepared: the outcome decides about the rows, not whoever holds them.
    if (this.stage.committing?.kind === 'prepared') return
    this.#ended = 'aborted'
    const state = this.#state
    dropStage(state, this.stage)
    if (state.failure !== undefined || this.stage.rowCount === 0) return
    // Only a hint for replay: not waited for, and nothing depends on it.
    const record = encodeLogRecord({ kind: 'abort', stageId: this.stage.stageId })
    state.log.append([record]).catch(() => {})
  }

  /** @throws 55000 they are committed or given up; the error of the log that did not take them; as checkUsable */
  checkOpen(): void {
    checkUsable(this.#state)
    if (this.#error !== undefined) throw this.#error
    if (this.#ended === 'open') return
    throw new DatabaseError(
      SqlState.objectNotInPrerequisiteState,
      `staged rows are already ${this.#ended}`,
    )
  }
}

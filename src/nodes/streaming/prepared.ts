/** Transactions over several log channels as a node knows them. State and plain functions over it, no waiting. */
import { invariant } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { PendingCommit, UndecidedTransaction } from '#nodes/streaming/commit-queue.js'
import type { TransactionId } from '#nodes/streaming/contract.js'
import type { KeyRecord, ReferenceRecord } from '#nodes/streaming/prepare-record.js'
import type { Stage } from '#nodes/streaming/stage.js'

/** So many outcomes are remembered of transactions prepared here; of older ones the deciding node is asked again. */
const finishedCountMax = 100_000

export interface HeldWrite {
  readonly channel: Channel
  readonly truncate: boolean
  readonly deletes: Float64Array
}

/** What a transaction under way keeps others from. */
export interface Held {
  readonly writes: readonly HeldWrite[]
  readonly stages: readonly Stage[]
  readonly absentKeys: readonly KeyRecord[]
  /** Of prepared ones: a commit's own are remembered at once (recent-references.ts). */
  readonly references: readonly ReferenceRecord[]
}

/** Rows of a COPY, told what becomes of them. */
export interface HeldCopy {
  committed(): void
  dropped(): void
}

export interface PreparedTransaction extends UndecidedTransaction {
  readonly kind: 'prepared'
  readonly transactionId: TransactionId
  readonly held: Held
  readonly copies: readonly HeldCopy[]
  position: number
  /** Monotonic milliseconds; -Infinity after replay. */
  readonly sinceMs: number
  readonly settle: () => void
  finishing:
    | { readonly committedAt: Timestamp | undefined; readonly done: Promise<void> }
    | undefined
}

export interface Preparing {
  readonly done: Promise<{ readonly preparedAt: Timestamp }>
  /** Judged: it is on the way to the log. */
  isEntered: boolean
}

export class Transactions {
  /** Durable, not decided. */
  readonly prepared = new Map<TransactionId, PreparedTransaction>()
  /** Being judged, or on the way to the log. */
  readonly preparing = new Map<TransactionId, Preparing>()
  readonly #finished = new Map<TransactionId, 'committed' | 'aborted'>()
  /** By index and key. */
  readonly #keys = new Map<number, Map<string, PendingCommit>>()
  /** By table and row id. */
  readonly #references = new Map<string, Set<PendingCommit>>()

  finished(transactionId: TransactionId): 'committed' | 'aborted' | undefined {
    return this.#finished.get(transactionId)
  }

  noteFinished(transactionId: TransactionId, outcome: 'committed' | 'aborted'): void {
    this.#finished.set(transactionId, outcome)
    if (this.#finished.size <= finishedCountMax) return
    const [oldest] = this.#finished.keys()
    if (oldest !== undefined) this.#finished.delete(oldest)
  }

  /** Keys of the index that must not appear, with who says so. */
  heldKeys(indexOid: number): ReadonlyMap<string, PendingCommit> | undefined {
    return this.#keys.get(indexOid)
  }

  /** A prepared transaction that relies on the row. */
  holderOf(tableId: number, rowId: number): PendingCommit | undefined {
    if (this.#references.size === 0) return undefined
    const [holder] = this.#references.get(`${tableId}:${rowId}`) ?? []
    return holder
  }

  /** One that relies on a row of the table. */
  holderIn(tableId: number): PendingCommit | undefined {
    for (const [name, holders] of this.#references) {
      if (!name.startsWith(`${tableId}:`)) continue
      for (const holder of holders) return holder
    }
    return undefined
  }

  holdKeys({ absentKeys, references }: Held, by: PendingCommit): void {
    for (const { indexOid, key } of absentKeys) {
      let keys = this.#keys.get(indexOid)
      if (keys === undefined) {
        keys = new Map()
        this.#keys.set(indexOid, keys)
      }
      invariant('TXN-6', !keys.has(key), 'a key is kept absent for two transactions')
      keys.set(key, by)
    }
    for (const { tableId, rowId } of references) {
      const name = `${tableId}:${rowId}`
      const holders = this.#references.get(name)
      if (holders === undefined) this.#references.set(name, new Set([by]))
      else holders.add(by)
    }
  }

  releaseKeys({ absentKeys, references }: Held, by: PendingCommit): void {
    for (const { indexOid, key } of absentKeys) {
      const keys = this.#keys.get(indexOid)
      if (keys?.get(key) !== by) continue
      keys.delete(key)
      if (keys.size === 0) this.#keys.delete(indexOid)
    }
    for (const { tableId, rowId } of references) {
      const name = `${tableId}:${rowId}`
      const holders = this.#references.get(name)
      if (holders?.delete(by) && holders.size === 0) this.#references.delete(name)
    }
  }
}

/** Others wait from here on. */
export function hold(transactions: Transactions, held: Held, by: PendingCommit): void {
  for (const stage of held.stages) stage.committing = by
  for (const { channel, deletes, truncate } of held.writes) {
    for (const rowId of deletes) channel.pendingDeletes.set(rowId, by)
    if (truncate) channel.pendingTruncate = by
  }
  if (held.absentKeys.length > 0 || held.references.length > 0) {
    transactions.holdKeys(held, by)
  }
}

/** It is under way no more. */
export function release(transactions: Transactions, held: Held, by: PendingCommit): void {
  for (const stage of held.stages) stage.committing = undefined
  for (const { channel, deletes, truncate } of held.writes) {
    for (const rowId of deletes) channel.pendingDeletes.delete(rowId)
    if (truncate) channel.pendingTruncate = undefined
  }
  if (held.absentKeys.length > 0 || held.references.length > 0) {
    transactions.releaseKeys(held, by)
  }
}

export function channelsOf({ writes, stages }: Held): ReadonlySet<Channel> {
  return new Set([...writes, ...stages].map(({ channel }) => channel))
}

/**
 * Commits between append and acknowledgement, in the order of their timestamps, which is the order of the log (TS-2).
 * A commit is applied when it and all before it are durable; the service time is just below the oldest that is not.
 *
 * Prepared transactions (prepare.ts) pass through the queue like commits, and are undecided from then on: whoever reads at or
 * above waits for their outcome. Their timestamps of commit come from outside, in any order, above that of preparing.
 *
 * Concurrency: everything but waiting is synchronous. Crash: what is here is found by replay, or is not.
 */
import { invariant, StoreError } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'

export interface PendingCommit {
  /** 'prepared': others decide about it, it may take long. */
  readonly kind: 'commit' | 'prepared'
  readonly timestamp: Timestamp
  /** Resolves when it is applied or given up; never rejects. */
  readonly settled: Promise<void>
}

/** A prepared transaction in the log. */
export interface UndecidedTransaction extends PendingCommit {
  /** Of its record, or below. */
  readonly position: number
}

interface QueuedCommit extends PendingCommit {
  outcome: 'appending' | 'durable' | 'failed'
  position: number
  readonly apply: (position: number) => void
  readonly undo: () => void
  settle: () => void
  resolve: () => void
  reject: (error: unknown) => void
  error: unknown
}

export interface CommitHandlers {
  /** The commit is durable and all before it are applied. @param position of its first log record */
  readonly apply: (position: number) => void
  /** The commit has certainly not happened. */
  readonly undo: () => void
}

export class CommitQueue {
  /** The newest timestamp that entered or was applied: whatever is drawn and used now is above. */
  lastTimestamp: Timestamp = timestampZero
  /** The newest that was applied: what reads there sees all that is applied. */
  newestTime: Timestamp = timestampZero
  #heldTime: Timestamp = timestampZero
  /** The newest of which someone was told that it is committed. */
  #acknowledgedTime: Timestamp = timestampZero
  readonly #queue: QueuedCommit[] = []
  /** By rising timestamp: they pass through the queue. */
  readonly #undecided = new Map<PendingCommit, () => void>()
  readonly #onDefect: (error: unknown) => void

  /** @param onDefect a durable commit could not be applied: memory and log have parted */
  constructor(onDefect: (error: unknown) => void) {
    this.#onDefect = onDefect
  }

  get size(): number {
    return this.#queue.length
  }

  /** Newest timestamp of which everything at or below is applied. */
  get appliedTime(): Timestamp {
    const bound = this.bound()
    return bound !== undefined && bound < this.newestTime ? bound : this.newestTime
  }

  /** Everything at or below is applied; undefined when nothing is under way (then any new timestamp is). */
  bound(): Timestamp | undefined {
    const first = this.#first()
    return first === undefined ? undefined : ((first.timestamp - 1) as Timestamp)
  }

  /**
   * Where a strong read reads while something is under way: everything acknowledged lies at or below. It may have to wait
   * there, if something was acknowledged that came after an undecided transaction.
   */
  serviceBound(): Timestamp | undefined {
    const bound = this.bound()
    if (bound === undefined || bound >= this.#acknowledgedTime) return bound
    return this.#acknowledgedTime
  }

  #first(): PendingCommit | undefined {
    const [first] = this.#queue
    if (this.#undecided.size === 0) return first
    const [undecided] = this.#undecided.keys()
    if (first === undefined || undecided === undefined) return first ?? undecided
    return first.timestamp < undecided.timestamp ? first : undecided
  }

  /**
   * Enters a commit whose append has just been called, in the same step as its timestamp was drawn.
   * @returns the commit, and a promise that settles when it is applied (or rejects with the log's error)
   */
  enter(timestamp: Timestamp, handlers: CommitHandlers): EnteredCommit {
    invariant('TS-2', timestamp > this.lastTimestamp, 'commits out of order')
    this.lastTimestamp = timestamp
    let settle: () => void = () => {}
    const settled = new Promise<void>((onSettled) => {
      settle = onSettled
    })
    let resolve: () => void = () => {}
    let reject: (error: unknown) => void = () => {}
    const done = new Promise<void>((onDone, onError) => {
      resolve = onDone
      reject = onError
    })
    const commit: QueuedCommit = {
      kind: 'commit',
      timestamp,
      settled,
      outcome: 'appending',
      position: 0,
      ...handlers,
      settle,
      resolve,
      reject,
      error: undefined,
    }
    this.#queue.push(commit)
    return {
      commit,
      done,
      appended: (position) => {
        commit.outcome = 'durable'
        commit.position = position
        this.#advance()
      },
      failed: (error) => {
        // Otherwise the node has failed, and failAll() has told the waiting.
        if (!(error instanceof StoreError) || error.outcome !== 'determinate') return
        commit.error = error
        commit.outcome = 'failed'
        this.#advance()
      },
    }
  }

  #advance(): void {
    for (;;) {
      const [first] = this.#queue
      if (first === undefined || first.outcome === 'appending') return
      this.#queue.shift()
      if (first.outcome === 'durable') {
        try {
          first.apply(first.position)
        } catch (error) {
          first.reject(error)
          first.settle()
          this.#onDefect(error)
          return
        }
        this.noteApplied(first.timestamp)
        if (first.timestamp !== this.#heldTime) this.#acknowledgedTime = first.timestamp
        first.resolve()
      } else {
        first.undo()
        first.reject(first.error)
      }
      first.settle()
    }
  }

  /** Rows of up to this time are here, by a commit or by restore; the oracle is past it. */
  noteApplied(timestamp: Timestamp): void {
    if (timestamp > this.newestTime) this.newestTime = timestamp
    if (timestamp > this.lastTimestamp) this.lastTimestamp = timestamp
  }

  /**
   * From here on reads at or above the prepared one wait; called when its record is applied, or after replay.
   * @param settle lets go of those that wait
   */
  hold(prepared: PendingCommit, settle: () => void): void {
    this.#undecided.set(prepared, settle)
    this.#heldTime = prepared.timestamp
  }

  /** Nobody waits any more for what is undecided: the node stops or has failed, and says so to whoever waited. */
  letGo(): void {
    const waiting = [...this.#undecided.values()]
    this.#undecided.clear()
    for (const settle of waiting) settle()
  }

  /** The undecided one is applied, at the timestamp that it was committed with, or given up. */
  decided(prepared: PendingCommit, committedAt: Timestamp | undefined): void {
    this.#undecided.delete(prepared)
    if (committedAt === undefined) return
    this.noteApplied(committedAt)
    if (committedAt > this.#acknowledgedTime) this.#acknowledgedTime = committedAt
  }

  /** Gives up everything under way with this error: the node stops, the log knows what happened. */
  failAll(error: unknown): void {
    this.letGo()
    for (const commit of this.#queue.splice(0)) {
      commit.reject(error)
      commit.settle()
    }
  }

  /** After replay. */
  startAt(timestamp: Timestamp): void {
    this.newestTime = timestamp
    this.#acknowledgedTime = timestamp
    this.lastTimestamp = timestamp
  }

  /** Waits until every commit whose append has been called is applied or given up. */
  async drained(): Promise<void> {
    await Promise.all(this.#queue.map(({ settled }) => settled))
  }

  /** Waits until everything at or below the timestamp is applied, or the node has failed. */
  async waitFor(timestamp: Timestamp, signal: AbortSignal): Promise<void> {
    for (;;) {
      const first = this.#first()
      if (first === undefined || first.timestamp > timestamp) return
      signal.throwIfAborted()
      await waitSettled(first, signal)
    }
  }
}

/** Appends settle soon, or the node stops and settles them all; what others decide about may take long. */
export function waitSettled({ kind, settled }: PendingCommit, signal: AbortSignal): Promise<void> {
  if (kind === 'commit') return settled
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    void settled.then(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
  })
}

export interface EnteredCommit {
  readonly commit: PendingCommit
  readonly done: Promise<void>
  readonly appended: (position: number) => void
  readonly failed: (error: unknown) => void
}

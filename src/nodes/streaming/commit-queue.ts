/**
 * Commits between append and acknowledgement, in the order of their timestamps, which is the order of the log (TS-2).
 * A commit is applied when it and all before it are durable; the service time is just below the oldest that is not.
 *
 * Concurrency: everything but waiting is synchronous. Crash: what is here is found by replay, or is not.
 */
import { invariant, StoreError } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'

export interface PendingCommit {
  readonly timestamp: Timestamp
  /** Resolves when it is applied or given up; never rejects. */
  readonly settled: Promise<void>
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
  /** Newest timestamp of which everything at or below is applied. */
  appliedTime: Timestamp = timestampZero
  /** The newest that entered. */
  lastTimestamp: Timestamp = timestampZero
  readonly #queue: QueuedCommit[] = []
  readonly #onDefect: (error: unknown) => void

  /** @param onDefect a durable commit could not be applied: memory and log have parted */
  constructor(onDefect: (error: unknown) => void) {
    this.#onDefect = onDefect
  }

  get size(): number {
    return this.#queue.length
  }

  /** Everything at or below is applied; undefined when nothing is under way (then any new timestamp is). */
  bound(): Timestamp | undefined {
    const [first] = this.#queue
    return first === undefined ? undefined : ((first.timestamp - 1) as Timestamp)
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
        this.appliedTime = first.timestamp
        first.resolve()
      } else {
        first.undo()
        first.reject(first.error)
      }
      first.settle()
    }
  }

  /** Gives up everything under way with this error: the node stops, the log knows what happened. */
  failAll(error: unknown): void {
    for (const commit of this.#queue.splice(0)) {
      commit.reject(error)
      commit.settle()
    }
  }

  /** After replay. */
  startAt(timestamp: Timestamp): void {
    this.appliedTime = timestamp
    this.lastTimestamp = timestamp
  }

  /** Waits until everything at or below the timestamp is applied. */
  async waitFor(timestamp: Timestamp, signal: AbortSignal): Promise<void> {
    for (;;) {
      const [first] = this.#queue
      if (first === undefined || first.timestamp > timestamp) return
      signal.throwIfAborted()
      // Not raced with the signal: appends settle soon, or the node stops and settles them all.
      await first.settled
    }
  }
}

export interface EnteredCommit {
  readonly commit: PendingCommit
  readonly done: Promise<void>
  readonly appended: (position: number) => void
  readonly failed: (error: unknown) => void
}

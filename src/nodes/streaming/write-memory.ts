/**
 * How much memory rows may take that are not in objects yet, over all streaming nodes of a process.
 *
 * Up to `softBytes` nothing happens. Beyond, what is full enough is sealed and flushed, and each write waits a moment, the
 * longer the less room is left. Beyond `hardBytes` a write waits until a flush has made room, and is refused if none does.
 * Reads and deletes are never held up.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

/** Of a write, when hardly any room is left. */
const delayMsMax = 200
/** How long a write waits for room before it is refused: a flush of a large segment takes a few seconds. */
const refusedAfterMs = 10_000
const lookAgainMs = 20

export interface WriteMemoryOptions {
  readonly runtime: Runtime
  /** Default: no bound. */
  readonly hardBytes?: number
}

/** What one streaming node holds. */
export interface MemoryHolder {
  /** Exactly, now. May take a millisecond. */
  measure(): number
  /** Of that, what a flush can give back: not rows of open COPYs. */
  flushable(): number
  /** Seal and flush now what makes room. */
  hurry(): void
}

export class WriteMemory {
  readonly hardBytes: number
  readonly softBytes: number
  readonly #runtime: Runtime
  readonly #holders = new Set<MemoryHolder>()
  #measured = 0
  /** Since it was measured. */
  #entered = 0
  /** Writes that were slowed, and refused, since the start. */
  delayedCount = 0
  refusedCount = 0

  constructor({ runtime, hardBytes = Number.POSITIVE_INFINITY }: WriteMemoryOptions) {
    this.#runtime = runtime
    this.hardBytes = hardBytes
    this.softBytes = hardBytes * (2 / 3)
  }

  join(holder: MemoryHolder): () => void {
    this.#holders.add(holder)
    this.measure()
    return () => {
      this.#holders.delete(holder)
      this.measure()
    }
  }

  get usedBytes(): number {
    return this.#measured + this.#entered
  }

  measure(): number {
    this.#measured = 0
    this.#entered = 0
    for (const holder of this.#holders) this.#measured += holder.measure()
    return this.#measured
  }

  /** Rows were entered. */
  note(bytes: number): void {
    this.#entered += bytes
  }

  /** undefined: go on. @param bytes about to be entered @throws 53200, the context's reason */
  admit(bytes: number, context: Context): Promise<void> | undefined {
    if (this.usedBytes + bytes <= this.softBytes) return undefined
    if (this.measure() + bytes <= this.softBytes) return undefined
    return this.#wait(bytes, context)
  }

  async #wait(bytes: number, context: Context): Promise<void> {
    this.delayedCount += 1
    const begunMs = this.#runtime.monotonicMs()
    for (const holder of this.#holders) holder.hurry()
    const room = Math.max(0, this.hardBytes - this.usedBytes - bytes)
    const pressure = 1 - Math.min(1, room / (this.hardBytes - this.softBytes))
    await this.#runtime.sleep(Math.ceil(pressure * delayMsMax), context.signal)
    for (;;) {
      checkCancelled(context)
      if (this.measure() + bytes <= this.hardBytes) return
      const waitedMs = this.#runtime.monotonicMs() - begunMs
      if (this.#nothingComes() || waitedMs >= refusedAfterMs) throw this.#refusal(bytes)
      for (const holder of this.#holders) holder.hurry()
      await this.#runtime.sleep(lookAgainMs, context.signal)
    }
  }

  /** Waiting would be in vain: all of it belongs to open COPYs. */
  #nothingComes(): boolean {
    for (const holder of this.#holders) if (holder.flushable() > 0) return false
    return true
  }

  #refusal(bytes: number): DatabaseError {
    this.refusedCount += 1
    const megabytes = (count: number) => `${Math.ceil(count / 2 ** 20)} MB`
    return new DatabaseError(SqlState.outOfMemory, 'out of memory', {
      detail:
        `Rows that are not flushed yet take ${megabytes(this.usedBytes)} of ${megabytes(this.hardBytes)}; ` +
        `${megabytes(bytes)} more are to be written.`,
      hint: this.#nothingComes()
        ? 'Rows of a COPY stay in memory until it is committed: copy in several transactions, or give the server more with --memory.'
        : 'Try again when they are flushed, or give the server more with --memory.',
    })
  }
}

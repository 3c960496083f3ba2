/**
 * The right to answer reads of a log channel: a lease in the oracle's time, so that no two clocks are compared.
 *
 * 1. The log's writer is open: nobody of a lower term appends. 2. The lease is taken by compare-and-set, with the writer's
 * term: nobody of a lower term renews. 3. The first timestamp is drawn above what the lease before promised: whatever a deposed
 * owner still answers lies before everything that is committed here (VIEW-1). 4. Reads at or above `servesBefore` wait for
 * renewal; it is renewed ahead while there are reads. 5. A clean stop gives the lease back: the next owner need not jump.
 *
 * Exclusive: the lock of the data directory says that nobody else is owner; nothing is taken and nothing waits.
 * Concurrency: one renewal at a time. Retry: a renewal whose outcome is unclear is found by reading.
 */
import type { Context } from '#base/context.js'
import { checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampFrom, timestampMax, timestampZero } from '#base/timestamp.js'
import type { Coordinator, LogChannelOwner } from '#nodes/coordinator/contract.js'

export interface Ownership {
  /** Reads and commits below are answered without asking anyone. */
  readonly servesBefore: Timestamp
  /** Everything committed here is above. */
  readonly startsAbove: Timestamp
  /** For a timestamp at or above `servesBefore`: resolves when it is below. @throws 57P03 */
  waitToServe(timestamp: Timestamp, context: Context): Promise<void>
  /** Asked when the log refuses an append: the error to answer with when another owner has taken the log channel. */
  findDeposed(): Promise<NotOwnerError | undefined>
  /** Ends renewal; nothing is answered from here on. With a time everything answered is below: gives the lease back. */
  stop(servedBelow?: Timestamp): Promise<void>
}

export const exclusiveOwnership: Ownership = {
  servesBefore: timestampMax,
  startsAbove: timestampZero,
  waitToServe: async () => {},
  findDeposed: async () => undefined,
  stop: async () => {},
}

/** 57P03: nothing was done, and the log channel has another owner. */
export class NotOwnerError extends DatabaseError {
  constructor(logChannel: string) {
    super(
      SqlState.cannotConnectNow,
      `this node is not the owner of log channel "${logChannel}" any more`,
    )
    this.name = 'NotOwnerError'
  }
}

export interface OwnershipOptions {
  readonly coordinator: Coordinator
  readonly logChannel: string
  readonly term: number
  readonly runtime: Runtime
  /** Another owner has taken the log channel. */
  readonly onDeposed: (error: NotOwnerError) => void
}

/** How far a lease reaches: a coordinator that is away for less is not noticed by readers. */
const leaseMs = 2000
/** While reads come. */
const renewEveryMs = 500
/** While none come: an owner that was deposed finds out. */
const renewIdleMs = 5000
const retryMs = 50
/** A read waits that long for a renewal. */
const waitMsMax = 5000

/** @throws 57P03 when an owner of a higher term has it; StoreError */
export async function takeOwnership(options: OwnershipOptions): Promise<Ownership> {
  const { coordinator, logChannel, term } = options
  for (;;) {
    const found = await coordinator.logChannelOwner(logChannel)
    if (found !== undefined && found.term > term) throw new NotOwnerError(logChannel)
    const startsAbove = found?.servesBefore ?? timestampZero
    const now = await coordinator.timestamp(startsAbove)
    const next = { term, servesBefore: leaseFrom(now) }
    if (await coordinator.setLogChannelOwner(logChannel, found, next)) {
      return new LeasedOwnership(options, next, startsAbove)
    }
  }
}

class LeasedOwnership implements Ownership {
  readonly startsAbove: Timestamp
  readonly #options: OwnershipOptions
  readonly #stopping = new AbortController()
  readonly #loop: Promise<void>
  /** As stored. */
  #stored: LogChannelOwner
  #served: Timestamp
  #isUsed = false
  #ended: NotOwnerError | undefined
  #renewal: Promise<void> | undefined

  constructor(options: OwnershipOptions, stored: LogChannelOwner, startsAbove: Timestamp) {
    this.#options = options
    this.#stored = stored
    this.#served = stored.servesBefore
    this.startsAbove = startsAbove
    this.#loop = this.#renewAhead()
  }

  /** Asking is using. */
  get servesBefore(): Timestamp {
    this.#isUsed = true
    return this.#served
  }

  async waitToServe(timestamp: Timestamp, context: Context): Promise<void> {
    const { runtime, logChannel } = this.#options
    const deadlineMs = runtime.monotonicMs() + waitMsMax
    while (timestamp >= this.servesBefore) {
      checkCancelled(context)
      if (this.#ended !== undefined) throw this.#ended
      if (runtime.monotonicMs() >= deadlineMs) throw notRenewed(logChannel)
      const failed = await Promise.race([
        this.#renew().then(
          () => false,
          () => true,
        ),
        runtime.sleep(retryMs, context.signal).then(() => true),
      ])
      // A time that the oracle has not reached, or no coordinator.
      if (failed || timestamp >= this.#served) await runtime.sleep(retryMs, context.signal)
    }
  }

  async stop(servedBelow?: Timestamp): Promise<void> {
    const { coordinator, logChannel, term } = this.#options
    this.#ended ??= new NotOwnerError(logChannel)
    this.#served = timestampZero
    this.#stopping.abort(this.#ended)
    await this.#loop
    await this.#renewal?.catch(() => {})
    if (servedBelow === undefined || servedBelow >= this.#stored.servesBefore) return
    const next = { term, servesBefore: servedBelow }
    // Not given back: the next owner begins above what was promised, nothing else.
    await coordinator.setLogChannelOwner(logChannel, this.#stored, next).catch(() => false)
  }

  async #renewAhead(): Promise<void> {
    const { runtime } = this.#options
    const { signal } = this.#stopping
    for (let idleMs = 0; ; ) {
      try {
        await runtime.sleep(renewEveryMs, signal)
      } catch {
        return
      }
      if (signal.aborted) return
      idleMs += renewEveryMs
      if (!this.#isUsed && idleMs < renewIdleMs) continue
      this.#isUsed = false
      idleMs = 0
      // Who waits for it hears why it failed.
      await this.#renew().catch(() => {})
    }
  }

  #renew(): Promise<void> {
    this.#renewal ??= this.#renewNow().finally(() => {
      this.#renewal = undefined
    })
    return this.#renewal
  }

  async #renewNow(): Promise<void> {
    const { coordinator, logChannel, term } = this.#options
    const now = await coordinator.timestamp()
    const next = { term, servesBefore: leaseFrom(now) }
    if (!(await coordinator.setLogChannelOwner(logChannel, this.#stored, next))) {
      // An earlier renewal whose outcome was unclear, or another owner.
      const found = await coordinator.logChannelOwner(logChannel)
      if (found?.term !== term) {
        this.#depose()
        return
      }
      this.#stored = found
    } else {
      this.#stored = next
    }
    if (this.#ended === undefined) this.#served = this.#stored.servesBefore
  }

  async findDeposed(): Promise<NotOwnerError | undefined> {
    const { coordinator, logChannel, term } = this.#options
    try {
      const found = await coordinator.logChannelOwner(logChannel)
      if (found?.term !== term) this.#depose()
    } catch {
      // Nobody to ask: the log's word is all there is.
    }
    return this.#ended
  }

  #depose(): void {
    if (this.#ended !== undefined) return
    const { logChannel, onDeposed, runtime } = this.#options
    const ended = new NotOwnerError(logChannel)
    this.#ended = ended
    this.#served = timestampZero
    // After those who asked have heard: they know more exactly what did not happen.
    void runtime.sleep(0).then(() => onDeposed(ended))
  }
}

function leaseFrom(now: Timestamp): Timestamp {
  return (now + timestampFrom(leaseMs, 0) - timestampFrom(0, 0)) as Timestamp
}

function notRenewed(logChannel: string): DatabaseError {
  return new DatabaseError(
    SqlState.cannotConnectNow,
    `the owner of log channel "${logChannel}" could not renew its lease`,
    { hint: 'No coordinator answers, or the timestamp to read at lies in the future.' },
  )
}

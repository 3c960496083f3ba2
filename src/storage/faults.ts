/**
 * Faults of the in-memory stores. The fault model: an operation is late, does not happen and says so, does not happen and
 * nobody knows, or happens and nobody knows. Decisions come from outside, so that a seed replays them.
 */
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

export type FaultKind =
  | 'none'
  /** Not done, and said so: StoreError determinate. */
  | 'refused'
  /** Not done, but the caller cannot know: StoreError indeterminate. */
  | 'lost'
  /** Done, but the caller is told that it failed: StoreError indeterminate. For reads the same as 'refused'. */
  | 'done-unknown'

export interface Fault {
  readonly kind: FaultKind
  /** Before it happens. */
  readonly delayBeforeMs: number
  /** Between happening and the answer; in the log: until it is synced. */
  readonly delayAfterMs: number
}

/** @param operation such as 'wal.append'. @param target log channel, key or object name. */
export type FaultSource = (operation: string, target: string) => Fault

export const noFault: Fault = { kind: 'none', delayBeforeMs: 0, delayAfterMs: 0 }
export const noFaults: FaultSource = () => noFault

export function faultError(kind: Exclude<FaultKind, 'none'>, operation: string): StoreError {
  const outcome = kind === 'refused' ? 'determinate' : 'indeterminate'
  return new StoreError(outcome, `${operation}: injected fault (${kind})`)
}

/** Where an in-memory store's operations pass: delays, faults, and the death of the process that holds the store. */
export class FaultyPath {
  readonly #runtime: Runtime
  readonly #faults: FaultSource
  #ended: 'closed' | 'crashed' | undefined

  constructor(runtime: Runtime, faults: FaultSource) {
    this.#runtime = runtime
    this.#faults = faults
  }

  end(how: 'closed' | 'crashed'): void {
    this.#ended ??= how
  }

  decide(operation: string, target: string): Fault {
    this.checkOpen()
    return this.#faults(operation, target)
  }

  /** @throws StoreError: determinate as long as nothing was tried. */
  checkOpen(): void {
    if (this.#ended !== undefined)
      throw new StoreError('determinate', `the store is ${this.#ended}`)
  }

  /** After something may have been done: a crashed process hears no answer. */
  checkAnswer(): void {
    if (this.#ended === 'crashed') throw new StoreError('indeterminate', 'the store is crashed')
  }

  async delay(ms: number): Promise<void> {
    if (ms > 0) await this.#runtime.sleep(ms)
    else await null
  }

  /** A write: `work` happens at once and whole, or not. */
  async write<T>(operation: string, target: string, work: () => T): Promise<T> {
    const { kind, delayBeforeMs, delayAfterMs } = this.decide(operation, target)
    await this.delay(delayBeforeMs)
    this.checkOpen()
    if (kind === 'refused' || kind === 'lost') throw faultError(kind, operation)
    const result = work()
    await this.delay(delayAfterMs)
    this.checkAnswer()
    if (kind === 'done-unknown') throw faultError(kind, operation)
    return result
  }

  /** A read changes nothing: all its failures are determinate. */
  async read<T>(operation: string, target: string, work: () => T): Promise<T> {
    const { kind, delayBeforeMs, delayAfterMs } = this.decide(operation, target)
    await this.delay(delayBeforeMs)
    this.checkOpen()
    if (kind !== 'none') throw faultError('refused', operation)
    const result = work()
    await this.delay(delayAfterMs)
    this.checkOpen()
    return result
  }
}

export interface MemoryStoreOptions {
  readonly runtime: Runtime
  readonly faults?: FaultSource
}

/**
 * A simulated process: a runtime of its own (its clock is off and drifts, and may step), and a life that may end at any event.
 * What a dead process still had under way gets no answer: its sleeps never end, its stores and messages refuse.
 */
import { backgroundContext } from '#base/context.js'
import type { Runtime } from '#base/runtime.js'
import type { World } from './world.js'

const epochMs = Date.UTC(2026, 0, 1)

export interface ProcessClock {
  /** Off by so much, */
  skewMs: number
  /** and running so much faster or slower. */
  readonly drift: number
}

export class SimProcess {
  readonly name: string
  readonly world: World
  readonly clock: ProcessClock
  readonly runtime: Runtime
  readonly #onDeath: (() => void)[] = []
  #alive = true

  constructor(world: World, name: string, clock: ProcessClock) {
    this.world = world
    this.name = name
    this.clock = clock
    const random = world.random.fork()
    this.runtime = {
      nowMs: () => Math.floor(epochMs + clock.skewMs + world.nowMs * clock.drift),
      monotonicMs: () => world.nowMs * clock.drift,
      sleep: (ms, signal) => this.#sleep(ms, signal),
      random: () => random.next(),
      randomBytes: (count) => Uint8Array.from({ length: count }, () => random.below(256)),
    }
  }

  get alive(): boolean {
    return this.#alive
  }

  onDeath(run: () => void): void {
    this.#onDeath.push(run)
  }

  kill(): void {
    if (!this.#alive) return
    this.#alive = false
    for (const run of this.#onDeath) run()
  }

  /** Resolves with the promise, unless the process has died. */
  while<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      work.then(
        (value) => {
          if (this.#alive) resolve(value)
        },
        (error: unknown) => {
          if (this.#alive) reject(error)
        },
      )
    })
  }

  #sleep(ms: number, given: AbortSignal | undefined): Promise<void> {
    // One signal of all background work: nobody aborts it, everybody would listen.
    const signal = given === backgroundContext.signal ? undefined : given
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = (): void => {
        if (this.#alive) reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.world.after(ms / this.clock.drift, this.name, () => {
        signal?.removeEventListener('abort', onAbort)
        if (this.#alive) resolve()
      })
    })
  }
}

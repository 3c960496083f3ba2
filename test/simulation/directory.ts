/**
 * Who is where, as the processes learn it: each hears of a change later, and each at its own time. So a caller may go on asking
 * a node that has been deposed.
 */
import type { Address } from './network.js'
import type { World } from './world.js'

interface Entry {
  readonly sinceMs: number
  readonly address: Address<unknown>
}

const keptCount = 4

export class Directory {
  readonly #world: World
  readonly #entries = new Map<string, Entry[]>()
  readonly #lags = new Map<string, number>()
  lagMsMax = 20

  constructor(world: World) {
    this.#world = world
  }

  publish(name: string, address: Address<unknown>): void {
    const entries = this.#entries.get(name) ?? []
    entries.push({ sinceMs: this.#world.nowMs, address })
    if (entries.length > keptCount) entries.shift()
    this.#entries.set(name, entries)
  }

  newest(name: string): Address<unknown> | undefined {
    return this.#entries.get(name)?.at(-1)?.address
  }

  /** What the caller believes. */
  lookUp(caller: string, name: string): Address<unknown> | undefined {
    const entries = this.#entries.get(name)
    if (entries === undefined) return undefined
    const knownMs = this.#world.nowMs - this.#lagOf(caller)
    return (entries.findLast(({ sinceMs }) => sinceMs <= knownMs) ?? entries[0])?.address
  }

  #lagOf(caller: string): number {
    const lag = this.#lags.get(caller) ?? this.#world.random.between(0, this.lagMsMax)
    this.#lags.set(caller, lag)
    return lag
  }
}

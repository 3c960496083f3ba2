/**
 * Who is where, as the processes learn it: each hears of a change later, and each at its own time. So a caller may go on asking
 * a node that has been deposed.
 */
import type { Address } from './network.js'
import type { World } from './world.js'

interface Entry {
  readonly sinceMs: number
  readonly term: number
  readonly address: Address<unknown>
}

const keptCount = 4

export class Directory {
  readonly #world: World
  readonly #entries = new Map<string, Entry[]>()
  readonly #lags = new Map<string, number>()
  readonly #lagMsMax: number
  /** News from before are known to everybody. */
  lagsFromMs = Number.POSITIVE_INFINITY

  constructor(world: World, lagMsMax: number) {
    this.#world = world
    this.#lagMsMax = lagMsMax
  }

  /** @param term of two who believe that they are it the later one counts */
  publish(name: string, term: number, address: Address<unknown>): void {
    const entries = this.#entries.get(name) ?? []
    if ((entries.at(-1)?.term ?? 0) > term) return
    entries.push({ sinceMs: this.#world.nowMs, term, address })
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
    const newest = entries.at(-1)?.address
    const knownMs = this.#world.nowMs - this.#lagOf(caller)
    const known = (
      entries.findLast(({ sinceMs }) => sinceMs <= knownMs || sinceMs <= this.lagsFromMs) ??
      entries[0]
    )?.address
    if (known !== newest && known?.process.alive === true)
      this.#world.count(`asked a deposed ${name === 'coordinator' ? 'leader' : 'owner'}`)
    return known
  }

  #lagOf(caller: string): number {
    const lag = this.#lags.get(caller) ?? this.#world.random.between(0, this.#lagMsMax)
    this.#lags.set(caller, lag)
    return lag
  }
}

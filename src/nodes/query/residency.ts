/**
 * What is in memory of that which is known: things are loaded when they are asked for and unloaded, least recently used
 * first, when they take more than the budget. Whoever uses a thing has it pinned, and what is pinned stays.
 *
 * 1. All that is wanted is here and nobody waits: pinned at once.
 * 2. Otherwise a request is granted when all it wants fits beside what others have pinned: room is made, what is missing is
 *    loaded (once, however many want it). A request for more than the budget is granted in parts, first what is here.
 * 3. What does not fit waits, first come, first served. Those behind may pass if all they need is here, a bounded number of times.
 *
 * MEM-1 What is here takes at most the budget, or is one thing alone (larger than the budget), or is pinned and has grown.
 * MEM-2 Nobody waits for room with something pinned: pins are held for the length of one computation, so waiting ends.
 *
 * Concurrency: all decisions are synchronous. Cancellation: a request that waits leaves; a load goes on for the next one.
 */
import { type Context, checkCancelled } from '#base/context.js'

export interface ResidencyPort<K, V> {
  /** Bytes it will take, known before it is loaded. */
  estimate(key: K): number
  load(key: K): Promise<V>
  /** Called in the step in which it becomes available: what is to be awaited first, after which it is called again. */
  finish?(key: K, value: V): Promise<void> | undefined
  /** Bytes it takes now. */
  bytes(value: V): number
  /** Nobody uses it any more; its memory goes back at once. */
  unload(value: V): void
}

/** A pinned thing; give it back with release(). */
export interface Pinned<K, V> {
  readonly key: K
  readonly value: V
}

interface Slot<K, V> {
  readonly key: K
  /** Settled when the thing is here or could not be loaded. */
  loading: Promise<void> | undefined
  value: { readonly it: V } | undefined
  error: { readonly reason: unknown } | undefined
  bytes: number
  pins: number
}

interface Waiting<K, V> {
  readonly wanted: readonly K[]
  readonly grant: (slots: readonly Slot<K, V>[]) => void
}

export interface ResidencyFigures {
  readonly budgetBytes: number
  readonly usedBytes: number
  readonly residentCount: number
  readonly waitingCount: number
  /** Since the start. */
  readonly loads: number
  readonly evictions: number
}

/** How many may pass whoever waits longest for room. */
const passedCountMax = 64

export class Residency<K, V> {
  readonly #port: ResidencyPort<K, V>
  readonly #budget: number
  /** In the order of their last use, oldest first. */
  readonly #slots = new Map<K, Slot<K, V>>()
  readonly #waiting: Waiting<K, V>[] = []
  #used = 0
  #passed = 0
  #loads = 0
  #evictions = 0

  constructor(port: ResidencyPort<K, V>, budgetBytes: number) {
    this.#port = port
    this.#budget = budgetBytes
  }

  figures(): ResidencyFigures {
    let residentCount = 0
    for (const slot of this.#slots.values()) if (slot.value !== undefined) residentCount += 1
    return {
      budgetBytes: this.#budget,
      usedBytes: this.#used,
      residentCount,
      waitingCount: this.#waiting.length,
      loads: this.#loads,
      evictions: this.#evictions,
    }
  }

  get budgetBytes(): number {
    return this.#budget
  }

  /** The thing if it is here, without pinning it. */
  peek(key: K): V | undefined {
    return this.#slots.get(key)?.value?.it
  }

  /** Pins it if it is here, whoever waits. */
  hold(key: K): V | undefined {
    const slot = this.#slots.get(key)
    if (slot?.value === undefined) return undefined
    this.#pin(slot)
    return slot.value.it
  }

  *values(): IterableIterator<V> {
    for (const { value } of this.#slots.values()) if (value !== undefined) yield value.it
  }

  /** Bytes of the thing, here or not. */
  bytesOf(key: K): number {
    return this.#slots.get(key)?.bytes ?? this.#port.estimate(key)
  }

  /** The usual case apart: everything is here, nobody waits. Pins it all, or returns undefined. */
  acquireHere(wanted: readonly K[]): readonly Pinned<K, V>[] | undefined {
    // Of nothing all is here, whoever waits.
    if (this.#waiting.length > 0 && wanted.length > 0) return undefined
    const pinned: Pinned<K, V>[] = []
    for (const key of wanted) {
      const value = this.#slots.get(key)?.value
      if (value === undefined) return undefined
      pinned.push({ key, value: value.it })
    }
    for (const key of wanted) {
      const slot = this.#slots.get(key)
      if (slot !== undefined) this.#pin(slot)
    }
    return pinned
  }

  /**
   * Pins all that is wanted (no key twice), or if that is more than the budget some of it, at least one: ask again for the rest.
   * @throws what load() does; the context's reason
   */
  async acquire(wanted: readonly K[], context: Context): Promise<readonly Pinned<K, V>[]> {
    checkCancelled(context)
    if (wanted.length === 0) return []
    const granted = this.#grant(wanted, this.#waiting.length === 0)
    const slots = granted ?? (await this.#wait(wanted, context))
    try {
      // What fails or is cancelled leaves nothing pinned.
      for (const { loading } of slots) if (loading !== undefined) await unless(context, loading)
      return slots.map((slot) => {
        if (slot.error !== undefined) throw slot.error.reason
        if (slot.value === undefined) throw new Error('granted and neither loaded nor failed')
        return { key: slot.key, value: slot.value.it }
      })
    } catch (error) {
      this.#unpin(slots)
      throw error
    }
  }

  /** Gives pins back, one for each. What has grown meanwhile is counted anew. */
  release(keys: readonly K[]): void {
    const slots = keys.flatMap((key) => this.#slots.get(key) ?? [])
    this.#unpin(slots)
  }

  /** Loads it if there is room without anybody waiting; otherwise it comes when it is asked for. @throws what load() does */
  async warm(key: K): Promise<void> {
    if (this.#waiting.length > 0 || this.#port.estimate(key) > this.#budget) return
    const slots = this.#grant([key], true)
    if (slots === undefined) return
    try {
      for (const { loading } of slots) await loading
      for (const { error } of slots) if (error !== undefined) throw error.reason
    } finally {
      this.#unpin(slots)
    }
  }

  /** Unloads it; nobody has it pinned or asks for it any more. */
  async remove(key: K): Promise<void> {
    const slot = this.#slots.get(key)
    if (slot === undefined) return
    await slot.loading
    if (this.#slots.get(key) === slot) this.#unload(slot)
    this.#wakeWaiting()
  }

  /** Unloads all that nobody has pinned. */
  evictAll(): void {
    this.#evictDownTo(0)
    this.#wakeWaiting()
  }

  /**
   * @param first nobody waits longer
   * @returns pinned slots, some of them being loaded; undefined: it must wait
   */
  #grant(wanted: readonly K[], first: boolean): readonly Slot<K, V>[] | undefined {
    const missing = wanted.filter((key) => !this.#slots.has(key))
    if (missing.length > 0 && !first) return undefined
    if (!first && this.#passed >= passedCountMax) return undefined
    const keys = this.#choose(wanted, missing)
    if (keys.length === 0) return undefined
    this.#passed = first ? 0 : this.#passed + 1
    const slots = keys.map((key) => {
      const present = this.#slots.get(key)
      if (present !== undefined) {
        this.#pin(present)
        return present
      }
      return undefined
    })
    let needed = 0
    for (const [i, key] of keys.entries()) {
      if (slots[i] === undefined) needed += this.#port.estimate(key)
    }
    if (needed > 0) this.#evictDownTo(this.#budget - needed)
    return keys.map((key, i) => slots[i] ?? this.#begin(key))
  }

  /** What of the wanted can be had now: all of it if that is not more than the budget, otherwise a part. */
  #choose(wanted: readonly K[], missing: readonly K[]): readonly K[] {
    let pinnedBytes = 0
    for (const slot of this.#slots.values()) if (isHeld(slot)) pinnedBytes += slot.bytes
    let total = 0
    let added = 0
    for (const key of wanted) {
      const slot = this.#slots.get(key)
      const bytes = slot?.bytes ?? this.#port.estimate(key)
      total += bytes
      if (slot === undefined || !isHeld(slot)) added += bytes
    }
    if (missing.length === 0 || pinnedBytes + added <= this.#budget) return wanted
    if (total <= this.#budget) return []
    const here = wanted.filter((key) => this.#slots.has(key))
    if (here.length > 0) return here
    // Half of the budget at a time, so that others find room beside it.
    const chosen: K[] = []
    let sum = 0
    for (const key of missing) {
      const bytes = this.#port.estimate(key)
      if (chosen.length > 0 && sum + bytes > this.#budget / 2) break
      chosen.push(key)
      sum += bytes
    }
    return pinnedBytes + sum <= this.#budget || pinnedBytes === 0 ? chosen : []
  }

  #begin(key: K): Slot<K, V> {
    const slot: Slot<K, V> = {
      key,
      loading: undefined,
      value: undefined,
      error: undefined,
      bytes: this.#port.estimate(key),
      pins: 1,
    }
    this.#slots.set(key, slot)
    this.#used += slot.bytes
    this.#loads += 1
    slot.loading = this.#load(slot)
    return slot
  }

  async #load(slot: Slot<K, V>): Promise<void> {
    try {
      const it = await this.#port.load(slot.key)
      await this.#finish(slot, it)
      this.#measure(slot)
    } catch (error) {
      slot.error = { reason: error }
      this.#forget(slot)
    } finally {
      slot.loading = undefined
    }
    this.#evictDownTo(this.#budget)
    this.#wakeWaiting()
  }

  async #finish(slot: Slot<K, V>, it: V): Promise<void> {
    try {
      for (;;) {
        const more = this.#port.finish?.(slot.key, it)
        if (more === undefined) break
        await more
      }
      slot.value = { it }
    } catch (error) {
      this.#port.unload(it)
      throw error
    }
  }

  async #wait(wanted: readonly K[], context: Context): Promise<readonly Slot<K, V>[]> {
    return await new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(context.signal.reason)
        this.#wakeWaiting()
      }
      const waiting: Waiting<K, V> = {
        wanted,
        grant: (slots) => {
          context.signal.removeEventListener('abort', leave)
          resolve(slots)
        },
      }
      context.signal.addEventListener('abort', leave, { once: true })
      this.#waiting.push(waiting)
    })
  }

  #wakeWaiting(): void {
    for (let i = 0; i < this.#waiting.length; ) {
      const waiting = this.#waiting[i]
      const slots = waiting && this.#grant(waiting.wanted, i === 0)
      if (waiting === undefined || slots === undefined) {
        i += 1
        continue
      }
      this.#waiting.splice(i, 1)
      waiting.grant(slots)
    }
  }

  #pin(slot: Slot<K, V>): void {
    slot.pins += 1
    this.#slots.delete(slot.key)
    this.#slots.set(slot.key, slot)
  }

  #unpin(slots: readonly Slot<K, V>[]): void {
    for (const slot of slots) {
      slot.pins -= 1
      this.#measure(slot)
    }
    if (this.#used > this.#budget) this.#evictDownTo(this.#budget)
    if (this.#waiting.length > 0) this.#wakeWaiting()
  }

  #measure(slot: Slot<K, V>): void {
    if (slot.value === undefined || this.#slots.get(slot.key) !== slot) return
    const bytes = this.#port.bytes(slot.value.it)
    this.#used += bytes - slot.bytes
    slot.bytes = bytes
  }

  #evictDownTo(bytes: number): void {
    if (this.#used <= bytes) return
    for (const slot of this.#slots.values()) {
      if (this.#used <= bytes) return
      if (isHeld(slot)) continue
      this.#evictions += 1
      this.#unload(slot)
    }
  }

  #unload(slot: Slot<K, V>): void {
    this.#forget(slot)
    if (slot.value !== undefined) this.#port.unload(slot.value.it)
    slot.value = undefined
  }

  #forget(slot: Slot<K, V>): void {
    this.#slots.delete(slot.key)
    this.#used -= slot.bytes
  }
}

function isHeld(slot: Slot<unknown, unknown>): boolean {
  return slot.pins > 0 || slot.loading !== undefined
}

/** Waits for the promise (which never rejects), or throws the context's reason. */
async function unless({ signal }: Context, promise: Promise<void>): Promise<void> {
  signal.throwIfAborted()
  let leave: () => void = () => {}
  const cancelled = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
  })
  try {
    await Promise.race([promise, cancelled])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

/**
 * Sequences: the one authoritative counter of each, leased in persisted blocks so that no value is given twice, also
 * after a crash (values may be skipped, as PostgreSQL does after its own). Embedded instances get the counter's state
 * before a run and tell what they used after it.
 *
 * Where there are other proxies nothing is leased ahead: what is persisted is the last value given, read before a run and
 * exchanged after it; a run whose values another proxy has given meanwhile is run again. So setval() and RESTART of one proxy
 * hold for all, and values rise over all of them.
 */
import { Mutex } from '#base/async/mutex.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { SequenceInfo, SequenceState } from '#postgres/contract.js'

/** As PostgreSQL's SEQ_LOG_VALS: values that may be skipped by a crash. */
const leaseSize = 32n
/** After so many values the lease is secured, too: who recovers a lost meta store leaves out as many. */
const securedEvery = 4096n
/** Left by `elanus recover-meta`: counters may be behind what was given out, by less than this many values. */
const behindSetting = 'sequences-behind'
const behindMax = 2n * securedEvery

interface Counter {
  readonly mutex: Mutex
  state: SequenceState
  /** What was read: where there are other proxies it must still be there. */
  stored: Uint8Array | undefined
  /** Values up to here (in direction of the increment) are covered by what is persisted. */
  leasedTo: bigint
  /** In the copy of the meta store. */
  securedTo: bigint | undefined
}

export class Sequences {
  readonly #coordinator: Coordinator
  readonly #isShared: boolean
  readonly #counters = new Map<number, Promise<Counter>>()

  /** @param isShared other proxies give values of the same sequences */
  constructor(coordinator: Coordinator, isShared: boolean) {
    this.#coordinator = coordinator
    this.#isShared = isShared
  }

  #counter(info: SequenceInfo): Promise<Counter> {
    let counter = this.#counters.get(info.oid)
    if (counter === undefined) {
      counter = this.#load(info)
      this.#counters.set(info.oid, counter)
    }
    return counter
  }

  async #load(info: SequenceInfo): Promise<Counter> {
    return { mutex: new Mutex(), securedTo: undefined, ...(await this.#read(info)) }
  }

  async #read({ oid, start, increment }: SequenceInfo) {
    const stored = await this.#coordinator.getSetting(keyOf(oid))
    if (stored === undefined) {
      const state = { oid, lastValue: start, isCalled: false }
      return { stored, state, leasedTo: start - increment }
    }
    const lastValue = decode(stored)
    return { stored, state: { oid, lastValue, isCalled: true }, leasedTo: lastValue }
  }

  /**
   * Runs `use` with the sequences' states, exclusively; what it returns as new states is kept and made durable first.
   * Where there are other proxies `use` may be run several times: the last one counts.
   */
  async withStates<T>(
    infos: readonly SequenceInfo[],
    use: (
      states: readonly SequenceState[],
    ) => Promise<{ readonly value: T; readonly states: readonly SequenceState[] }>,
  ): Promise<T> {
    const ordered = [...infos].sort((a, b) => a.oid - b.oid)
    const counters = await Promise.all(ordered.map((info) => this.#counter(info)))
    const enter = async (index: number): Promise<T> => {
      const counter = counters[index]
      if (counter !== undefined) return counter.mutex.run(() => enter(index + 1))
      for (;;) {
        if (this.#isShared) await this.#readAgain(ordered, counters)
        const { value, states } = await use(counters.map((entry) => entry.state))
        if (await this.#keep(ordered, counters, states)) return value
      }
    }
    return enter(0)
  }

  async #readAgain(infos: readonly SequenceInfo[], counters: readonly Counter[]): Promise<void> {
    const read = await Promise.all(infos.map((info) => this.#read(info)))
    for (const [i, counter] of counters.entries()) Object.assign(counter, read[i])
  }

  /** @returns false when another proxy has given values of one of them: what was kept of others before is skipped */
  async #keep(
    infos: readonly SequenceInfo[],
    counters: readonly Counter[],
    states: readonly SequenceState[],
  ): Promise<boolean> {
    for (const state of states) {
      const at = infos.findIndex((candidate) => candidate.oid === state.oid)
      const info = infos[at]
      const counter = counters[at]
      if (info === undefined || counter === undefined) continue
      if (!this.#isShared) await this.#advance(info, counter, state)
      else if (!(await this.#exchange(info, counter, state))) return false
    }
    return true
  }

  async #exchange(info: SequenceInfo, counter: Counter, state: SequenceState): Promise<boolean> {
    const { lastValue, isCalled } = counter.state
    if (lastValue === state.lastValue && isCalled === state.isCalled) return true
    const kept = state.isCalled ? state.lastValue : state.lastValue - info.increment
    const key = keyOf(info.oid)
    if (!(await this.#coordinator.exchangeSetting(key, counter.stored, encode(kept)))) return false
    counter.leasedTo = kept
    await this.#secure(info, counter)
    counter.state = state
    return true
  }

  /** nextval, `count` times. @throws 2200H when the sequence is exhausted */
  async next(info: SequenceInfo, count: number): Promise<readonly bigint[]> {
    return this.withStates([info], async ([state]) => {
      const values: bigint[] = []
      let { lastValue, isCalled } = state ?? { lastValue: info.start, isCalled: false }
      for (let i = 0; i < count; i += 1) {
        const value = isCalled ? lastValue + info.increment : lastValue
        if (value > info.max || value < info.min) {
          if (!info.cycle) throw exhausted(info)
          lastValue = info.increment > 0n ? info.min : info.max
        } else {
          lastValue = value
        }
        isCalled = true
        values.push(lastValue)
      }
      return { value: values, states: [{ oid: info.oid, lastValue, isCalled }] }
    })
  }

  /** Dropped, or its creation rolled back: its OID may come again as another sequence. */
  async forget(oids: Iterable<number>): Promise<void> {
    for (const oid of oids) {
      this.#counters.delete(oid)
      await this.#coordinator.putSetting(keyOf(oid), undefined)
    }
  }

  /** At start: what a crash has left of sequences that never came to be. */
  async forgetUnknown(known: ReadonlyMap<number, SequenceInfo>): Promise<void> {
    const stored = await this.#coordinator.listSettings('sequence/')
    const oids = stored.map(({ key }) => Number(key.slice('sequence/'.length)))
    await this.forget(oids.filter((oid) => !known.has(oid)))
  }

  /** An orderly stop: what was leased and not used is given back. */
  async close(): Promise<void> {
    for (const [oid, loading] of this.#counters) {
      const counter = await loading
      const { lastValue, isCalled } = counter.state
      if (!isCalled || counter.leasedTo === lastValue) continue
      await this.#coordinator.putSetting(keyOf(oid), encode(lastValue))
      counter.leasedTo = lastValue
    }
  }

  async #advance(info: SequenceInfo, counter: Counter, state: SequenceState): Promise<void> {
    const before = counter.state
    if (before.lastValue === state.lastValue && before.isCalled === state.isCalled) return
    const rising = info.increment > 0n
    const covered = rising
      ? state.lastValue <= counter.leasedTo
      : state.lastValue >= counter.leasedTo
    const backwards = rising
      ? state.lastValue < before.lastValue
      : state.lastValue > before.lastValue
    if (!covered || backwards || !state.isCalled) {
      const lease = state.isCalled
        ? state.lastValue + info.increment * leaseSize
        : state.lastValue - info.increment
      await this.#coordinator.putSetting(keyOf(info.oid), encode(lease))
      counter.leasedTo = lease
      await this.#secure(info, counter)
    }
    counter.state = state
  }

  async #secure({ increment }: SequenceInfo, counter: Counter): Promise<void> {
    const { leasedTo, securedTo } = counter
    const ahead = securedTo === undefined ? undefined : (leasedTo - securedTo) / increment
    if (ahead !== undefined && ahead >= 0n && ahead < securedEvery) return
    await this.#coordinator.secure()
    counter.securedTo = leasedTo
  }

  /** After recovery of the meta store: past all that may have been given out. One that was never used is as it was. */
  async catchUp(known: ReadonlyMap<number, SequenceInfo>): Promise<void> {
    if ((await this.#coordinator.getSetting(behindSetting)) === undefined) return
    for (const info of known.values()) {
      const key = keyOf(info.oid)
      const stored = await this.#coordinator.getSetting(key)
      if (stored === undefined) continue
      const past = decode(stored) + info.increment * behindMax
      const value = past > info.max ? info.max : past < info.min ? info.min : past
      await this.#coordinator.putSetting(key, encode(value))
    }
    await this.#coordinator.putSetting(behindSetting, undefined)
  }

  /** The sequence was dropped, restarted or altered: read it anew. */
  async restart(info: SequenceInfo, lastValue: bigint, isCalled: boolean): Promise<void> {
    await this.withStates([info], async () => ({
      value: undefined,
      states: [{ oid: info.oid, lastValue, isCalled }],
    }))
  }
}

function keyOf(oid: number): string {
  return `sequence/${oid}`
}

function encode(value: bigint): Uint8Array {
  return new TextEncoder().encode(value.toString())
}

function decode(stored: Uint8Array): bigint {
  return BigInt(new TextDecoder().decode(stored))
}

function exhausted(info: SequenceInfo): DatabaseError {
  const up = info.increment > 0n
  return new DatabaseError(
    SqlState.sequenceGeneratorLimitExceeded,
    `nextval: reached ${up ? 'maximum' : 'minimum'} value of sequence "${info.name}" (${up ? info.max : info.min})`,
  )
}

/**
 * Sequences: the one authoritative counter of each, leased in persisted blocks so that no value is given twice, also
 * after a crash (values may be skipped, as PostgreSQL does after its own). Embedded instances get the counter's state
 * before a run and tell what they used after it.
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
  /** Values up to here (in direction of the increment) are covered by what is persisted. */
  leasedTo: bigint
  /** In the copy of the meta store. */
  securedTo: bigint | undefined
}

export class Sequences {
  readonly #coordinator: Coordinator
  readonly #counters = new Map<number, Promise<Counter>>()

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator
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
    const stored = await this.#coordinator.getSetting(`sequence/${info.oid}`)
    if (stored === undefined) {
      return {
        mutex: new Mutex(),
        state: { oid: info.oid, lastValue: info.start, isCalled: false },
        leasedTo: info.start - info.increment,
        securedTo: undefined,
      }
    }
    const lastValue = BigInt(new TextDecoder().decode(stored))
    return {
      mutex: new Mutex(),
      state: { oid: info.oid, lastValue, isCalled: true },
      leasedTo: lastValue,
      securedTo: undefined,
    }
  }

  /** Runs `use` with the sequences' states, exclusively; what it returns as new states is kept and made durable first. */
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
      const { value, states } = await use(counters.map((entry) => entry.state))
      for (const state of states) {
        const at = ordered.findIndex((candidate) => candidate.oid === state.oid)
        const info = ordered[at]
        const target = counters[at]
        if (info !== undefined && target !== undefined) await this.#advance(info, target, state)
      }
      return value
    }
    return enter(0)
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
      await this.#coordinator.putSetting(`sequence/${oid}`, undefined)
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
      await this.#coordinator.putSetting(
        `sequence/${oid}`,
        new TextEncoder().encode(lastValue.toString()),
      )
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
      await this.#coordinator.putSetting(
        `sequence/${info.oid}`,
        new TextEncoder().encode(lease.toString()),
      )
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
      const key = `sequence/${info.oid}`
      const stored = await this.#coordinator.getSetting(key)
      if (stored === undefined) continue
      const past = BigInt(new TextDecoder().decode(stored)) + info.increment * behindMax
      const value = past > info.max ? info.max : past < info.min ? info.min : past
      await this.#coordinator.putSetting(key, new TextEncoder().encode(value.toString()))
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

function exhausted(info: SequenceInfo): DatabaseError {
  const up = info.increment > 0n
  return new DatabaseError(
    SqlState.sequenceGeneratorLimitExceeded,
    `nextval: reached ${up ? 'maximum' : 'minimum'} value of sequence "${info.name}" (${up ? info.max : info.min})`,
  )
}

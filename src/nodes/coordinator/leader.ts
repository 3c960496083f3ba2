/**
 * One coordinator among several: whoever holds the key `coordinator/leader` is it, with a lease.
 *
 * 1. Stand: put the key, if nobody has it, with a lease that is kept alive. 2. Elected: open the coordinator, which raises the
 * term (fenced-meta.ts: an earlier leader can write nothing from here on) and reads everything from the store. 3. Serve until
 * the lease ends, or a later term shows: close, and stand again. 4. Not elected: watch the key, and look now and then.
 *
 * The key only keeps two from deposing each other all the time; what is right is kept by the term. Who is asked and is not the
 * leader says so with 57P03, and where the leader is, if he knows.
 */
import { DatabaseError, SqlState, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { metaKeys } from '#nodes/coordinator/meta-keys.js'
import type { MetaLease, MetaStore } from '#storage/meta/meta.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface CandidateOptions {
  /** Closed by whoever opened it. */
  readonly meta: MetaStore
  /** See CoordinatorOptions. */
  readonly objects?: ObjectStore | undefined
  readonly runtime: Runtime
  /** Unique among candidates, and told to those who ask the wrong one: an address. */
  readonly id: string
  /** A leader that is not heard of for so long is replaced. */
  readonly leaseMs?: number | undefined
  /** Of standing and leading; both are tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** Runs while this one leads; the signal aborts when it does no more. */
  readonly onLeading?: ((coordinator: Coordinator, signal: AbortSignal) => void) | undefined
}

export interface Candidate extends Coordinator {
  isLeading(): boolean
}

interface Leading {
  readonly coordinator: Coordinator
  readonly end: () => void
  /** Rejects when it leads no more: whoever waits for an answer then asks the next one. */
  readonly ended: Promise<never>
}

const leaseMsDefault = 2000
const pauseMsMax = 500

export function startCandidate(options: CandidateOptions): Candidate {
  const { meta, runtime, id } = options
  const leaseMs = options.leaseMs ?? leaseMsDefault
  const onError = options.onError ?? (() => {})
  const stopping = new AbortController()
  let leading: Leading | undefined
  let leader: string | undefined

  const standing = stand()

  async function stand(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const lease = await takeKey()
        if (lease === undefined) await untilFree()
        else await lead(lease)
      } catch (error) {
        if (stopping.signal.aborted) return
        onError(error)
        await pause(runtime.random() * pauseMsMax)
      }
    }
  }

  /** undefined: another has it. */
  async function takeKey(): Promise<MetaLease | undefined> {
    const present = await meta.get(metaKeys.leader)
    leader = present === undefined ? undefined : new TextDecoder().decode(present.value)
    // One's own key of a life before: its lease ends by itself.
    if (present !== undefined) return undefined
    const lease = await meta.grantLease(leaseMs)
    try {
      const value = new TextEncoder().encode(id)
      const outcome = await meta.write(
        [{ key: metaKeys.leader, revision: 0 }],
        [{ kind: 'put', key: metaKeys.leader, value, lease: lease.id }],
      )
      if (outcome.kind === 'done') return lease
    } catch (error) {
      await lease.revoke().catch(() => {})
      throw error
    }
    await lease.revoke().catch(() => {})
    return undefined
  }

  async function untilFree(): Promise<void> {
    const done = new AbortController()
    const changes = meta.watch(metaKeys.leader, done.signal)[Symbol.asyncIterator]()
    try {
      // A watch may miss what came before it, or die: a look now and then.
      await Promise.race([changes.next(), pause(leaseMs)])
    } finally {
      done.abort()
    }
  }

  async function lead(lease: MetaLease): Promise<void> {
    const end = new AbortController()
    const kept = keepAlive(lease, end)
    try {
      const coordinator = await openCoordinator({
        meta,
        objects: options.objects,
        runtime,
        leadership: 'elected',
      })
      if (end.signal.aborted || stopping.signal.aborted) return
      leader = id
      leading = { coordinator, end: () => end.abort(), ended: endOf(end.signal) }
      options.onLeading?.(coordinator, end.signal)
      await kept
      leading = undefined
      await coordinator.stop().catch(() => {})
    } finally {
      leading = undefined
      leader = undefined
      end.abort()
      await kept
      await lease.revoke().catch(() => {})
    }
  }

  /** Resolves when the lease has ended, or may have. */
  async function keepAlive(lease: MetaLease, end: AbortController): Promise<void> {
    const { signal } = end
    let deadlineMs = runtime.monotonicMs() + leaseMs
    while (!signal.aborted && !stopping.signal.aborted) {
      await pause(leaseMs / 4, signal)
      if (signal.aborted || stopping.signal.aborted) break
      const askedMs = runtime.monotonicMs()
      try {
        if (!(await keptWithin(lease, deadlineMs - askedMs, runtime))) break
        deadlineMs = askedMs + leaseMs
      } catch (error) {
        onError(error)
        if (runtime.monotonicMs() >= deadlineMs) break
      }
    }
    end.abort()
  }

  async function pause(ms: number, signal?: AbortSignal): Promise<void> {
    const signals = [stopping.signal, ...(signal === undefined ? [] : [signal])]
    await runtime.sleep(ms, AbortSignal.any(signals)).catch(() => {})
  }

  /** A leader that the store no more takes for one stands again. */
  async function ask<T>(work: (coordinator: Coordinator) => Promise<T>): Promise<T> {
    const asked = leading
    if (asked === undefined) throw notLeader(leader)
    try {
      return await Promise.race([work(asked.coordinator), asked.ended])
    } catch (error) {
      if (isDeposed(error)) asked.end()
      throw error
    }
  }

  return {
    isLeading: () => leading !== undefined,
    timestamp: (above) => ask((coordinator) => coordinator.timestamp(above)),
    timestampNow: () => undefined,
    ddlLog: () => ask((coordinator) => coordinator.ddlLog()),
    appendDdl: (version, entries, appendId) =>
      ask((coordinator) => coordinator.appendDdl(version, entries, appendId)),
    allocateSegmentIds: (count) => ask((coordinator) => coordinator.allocateSegmentIds(count)),
    leaseCounter: (name, count, floor) =>
      ask((coordinator) => coordinator.leaseCounter(name, count, floor)),
    segments: () => ask((coordinator) => coordinator.segments()),
    checkpoints: () => ask((coordinator) => coordinator.checkpoints()),
    switchSegments: (change) => ask((coordinator) => coordinator.switchSegments(change)),
    getSetting: (key) => ask((coordinator) => coordinator.getSetting(key)),
    putSetting: (key, value, by) => ask((coordinator) => coordinator.putSetting(key, value, by)),
    exchangeSetting: (key, found, value) =>
      ask((coordinator) => coordinator.exchangeSetting(key, found, value)),
    listSettings: (prefix) => ask((coordinator) => coordinator.listSettings(prefix)),
    logChannelOwner: (name) => ask((coordinator) => coordinator.logChannelOwner(name)),
    setLogChannelOwner: (name, found, next) =>
      ask((coordinator) => coordinator.setLogChannelOwner(name, found, next)),
    secure: () => ask((coordinator) => coordinator.secure()),
    nodes: () => ask((coordinator) => coordinator.nodes()),
    async stop() {
      stopping.abort()
      await standing
    },
  }
}

/** The store may not answer at all. */
async function keptWithin(lease: MetaLease, ms: number, runtime: Runtime): Promise<boolean> {
  const answered = new AbortController()
  const late = runtime.sleep(Math.max(0, ms), answered.signal).then(
    () => false,
    () => false,
  )
  try {
    return await Promise.race([lease.keepAlive(), late])
  } finally {
    answered.abort()
  }
}

function endOf(signal: AbortSignal): Promise<never> {
  const ended = new Promise<never>((_, reject) => {
    const words =
      'this coordinator leads no more: its store does not answer, or another has taken over'
    const end = () => reject(new UnreachableError('indeterminate', words))
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
  // Nobody may be waiting.
  ended.catch(() => {})
  return ended
}

function isDeposed(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === SqlState.adminShutdown
}

function notLeader(leader: string | undefined): DatabaseError {
  return new DatabaseError(SqlState.cannotConnectNow, 'this coordinator is not the leader', {
    ...(leader === undefined ? {} : { detail: `The leader is ${leader}.` }),
  })
}

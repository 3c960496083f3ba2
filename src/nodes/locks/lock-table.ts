/**
 * Locks and who waits for them, in memory. A step never waits in the middle; waiting is the caller's, who is told when nothing is in
 * its way any more.
 *
 * Deadlocks: who is about to wait looks whether those in its way wait, over others, for it. Nobody can come to be in a circle
 * without waiting, so the last to wait finds it and gives up (40P01).
 */
import { DatabaseError } from '#base/errors.js'
import type {
  LockFact,
  LockMode,
  LockRequest,
  LockSpace,
  ReleaseScope,
} from '#nodes/locks/contract.js'

interface Grant {
  readonly holder: Holder
  readonly transaction: number
  readonly scope: 'transaction' | 'session'
  readonly mark: number
  readonly mode: LockMode
}

interface Lock {
  readonly space: LockSpace
  readonly name: string | number
  grants: readonly Grant[]
  waiters: readonly Waiter[]
}

interface Waiter {
  readonly holder: Holder
  readonly mode: LockMode
  readonly free: () => void
}

/** Locks that were taken in one step, of the same kind. */
interface Taken {
  readonly grant: Grant
  readonly locks: Lock[]
}

export interface Holder {
  readonly proxy: string
  /** 0: it has asked for nothing yet. */
  processId: number
  taken: Taken[]
  waitsFor: { readonly lock: Lock; readonly waiter: Waiter } | undefined
  /** Transactions up to it are over. */
  endedTransaction: number
}

const modeNames = { shared: 'ShareLock', exclusive: 'ExclusiveLock' } as const

export class LockTable {
  readonly #spaces = new Map<LockSpace, Map<string | number, Lock>>()

  createHolder(proxy: string): Holder {
    return { proxy, processId: 0, taken: [], waitsFor: undefined, endedTransaction: 0 }
  }

  /** @returns the first lock that is in the way; undefined: all are held */
  take(holder: Holder, request: Omit<LockRequest, 'proxy' | 'session'>): Lock | undefined {
    const { transaction, scope, mark, mode, space, names } = request
    if (request.take === 'all') {
      for (const name of names) {
        const lock = this.#spaces.get(space)?.get(name)
        if (lock !== undefined && isBlocked(lock, holder, mode)) return lock
      }
    }
    const grant: Grant = { holder, transaction, scope, mark, mode }
    const locks: Lock[] = []
    let blocked: Lock | undefined
    for (const name of names) {
      const lock = this.#lock(space, name)
      if (isBlocked(lock, holder, mode)) {
        blocked = lock
        break
      }
      if (scope === 'transaction' && holdsAlready(lock, grant)) continue
      lock.grants = lock.grants.length === 0 ? [grant] : [...lock.grants, grant]
      locks.push(lock)
    }
    if (locks.length > 0) holder.taken.push({ grant, locks })
    return blocked
  }

  taken(holder: Holder | undefined, space: LockSpace, names: Float64Array, mode: LockMode) {
    const locks = this.#spaces.get(space)
    if (locks === undefined || locks.size === 0) return new Float64Array()
    return names.filter((name) => {
      const lock = locks.get(name)
      return lock !== undefined && isBlocked(lock, holder, mode)
    })
  }

  /**
   * Enters the queue of the lock that take() has just named.
   * @param free called when nobody is in the way any more
   * @returns what leaves the queue
   * @throws 40P01
   */
  enqueue(holder: Holder, lock: Lock, mode: LockMode, free: () => void): () => void {
    const waiter = { holder, mode, free }
    holder.waitsFor = { lock, waiter }
    const circle = findCircle(holder)
    if (circle !== undefined) {
      const error = deadlock(circle)
      holder.waitsFor = undefined
      throw error
    }
    lock.waiters = [...lock.waiters, waiter]
    return () => {
      if (holder.waitsFor?.waiter === waiter) holder.waitsFor = undefined
      lock.waiters = lock.waiters.filter((other) => other !== waiter)
      this.#drop(lock)
    }
  }

  /** @returns false: 'one' was not held */
  release(holder: Holder, scope: ReleaseScope): boolean {
    if (scope.kind === 'one') return this.#releaseOne(holder, scope)
    const goes = (grant: Grant): boolean => {
      if (scope.kind === 'everything') return true
      if (scope.kind === 'session') return grant.scope === 'session'
      return (
        grant.scope === 'transaction' &&
        (grant.transaction < scope.transaction ||
          (grant.transaction === scope.transaction && grant.mark >= scope.fromMark))
      )
    }
    const gone = holder.taken.filter(({ grant }) => goes(grant))
    if (gone.length > 0) holder.taken = holder.taken.filter(({ grant }) => !goes(grant))
    for (const { grant, locks } of gone) for (const lock of locks) this.#ungrant(lock, grant)
    if (scope.kind === 'transaction' && scope.fromMark === 0)
      holder.endedTransaction = Math.max(holder.endedTransaction, scope.transaction)
    return true
  }

  list(limit: number): readonly LockFact[] {
    const facts: LockFact[] = []
    for (const locks of this.#spaces.values()) {
      for (const { space, name, grants, waiters } of locks.values()) {
        if (facts.length >= limit) return facts
        const fact = ({ proxy, processId }: Holder, mode: LockMode, isGranted: boolean) =>
          facts.push({ proxy, processId, space, name, mode, isGranted })
        for (const { holder, mode } of grants) fact(holder, mode, true)
        for (const { holder, mode } of waiters) fact(holder, mode, false)
      }
    }
    return facts
  }

  #releaseOne(
    holder: Holder,
    { space, name, mode }: Extract<ReleaseScope, { readonly kind: 'one' }>,
  ): boolean {
    const lock = this.#spaces.get(space)?.get(name)
    const held = holder.taken.find(
      ({ grant, locks }) =>
        lock !== undefined &&
        grant.scope === 'session' &&
        grant.mode === mode &&
        locks.includes(lock),
    )
    if (lock === undefined || held === undefined) return false
    holder.taken = holder.taken.filter((other) => other !== held)
    this.#ungrant(lock, held.grant)
    return true
  }

  #lock(space: LockSpace, name: string | number): Lock {
    let locks = this.#spaces.get(space)
    if (locks === undefined) {
      locks = new Map()
      this.#spaces.set(space, locks)
    }
    let lock = locks.get(name)
    if (lock === undefined) {
      lock = { space, name, grants: none, waiters: none }
      locks.set(name, lock)
    }
    return lock
  }

  #ungrant(lock: Lock, grant: Grant): void {
    lock.grants = lock.grants.length === 1 ? none : lock.grants.filter((other) => other !== grant)
    for (const waiter of lock.waiters)
      if (!isBlocked(lock, waiter.holder, waiter.mode)) waiter.free()
    this.#drop(lock)
  }

  #drop(lock: Lock): void {
    if (lock.grants.length > 0 || lock.waiters.length > 0) return
    const locks = this.#spaces.get(lock.space)
    if (locks?.get(lock.name) !== lock) return
    locks.delete(lock.name)
    if (locks.size === 0) this.#spaces.delete(lock.space)
  }
}

const none: readonly never[] = []

function isInTheWay(grant: Grant, holder: Holder | undefined, mode: LockMode): boolean {
  return grant.holder !== holder && (mode === 'exclusive' || grant.mode === 'exclusive')
}

function isBlocked(lock: Lock, holder: Holder | undefined, mode: LockMode): boolean {
  return lock.grants.some((grant) => isInTheWay(grant, holder, mode))
}

function holdsAlready(lock: Lock, wanted: Grant): boolean {
  return lock.grants.some(
    ({ holder, scope, mode }) =>
      holder === wanted.holder &&
      scope === wanted.scope &&
      (mode === 'exclusive' || wanted.mode === 'shared'),
  )
}

/** Those who wait for each other, beginning with the one given. */
function findCircle(start: Holder): readonly Holder[] | undefined {
  const seen = new Set<Holder>()
  const paths: (readonly Holder[])[] = [[start]]
  for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
    const last = path.at(-1)
    if (last?.waitsFor === undefined) continue
    const { lock, waiter } = last.waitsFor
    for (const grant of lock.grants) {
      if (!isInTheWay(grant, last, waiter.mode)) continue
      if (grant.holder === start) return path
      if (seen.has(grant.holder)) continue
      seen.add(grant.holder)
      paths.push([...path, grant.holder])
    }
  }
  return undefined
}

function deadlock(circle: readonly Holder[]): DatabaseError {
  const lines = circle.map(({ processId, waitsFor }, i) => {
    const blocker = circle[(i + 1) % circle.length]?.processId
    if (waitsFor === undefined) return ''
    const { lock, waiter } = waitsFor
    return `Process ${processId} waits for ${modeNames[waiter.mode]} on ${described(lock)}; blocked by process ${blocker}.`
  })
  return new DatabaseError('40P01', 'deadlock detected', { detail: lines.join('\n') })
}

function described({ space, name }: Lock): string {
  if (space === 'advisory') return `advisory lock [${name}]`
  if (space === 'table') return `relation ${name}`
  return typeof name === 'number' ? `a row of relation ${space}` : `a key of relation ${space}`
}

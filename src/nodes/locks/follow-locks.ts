/**
 * Whoever keeps the locks now, as one lock service: asks the node that kept them last, turns to the next when it does not, and goes on
 * until one does. Keeps the proxy's lease alive while its sessions hold anything.
 *
 * What is released and cannot be told now is told later, until the lease has become another one: then it is released anyway.
 */
import { backgroundContext, type Context } from '#base/context.js'
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type {
  LockAnswer,
  LockLease,
  LockRequest,
  LockService,
  ProxyLocks,
  ReleaseRequest,
} from '#nodes/locks/contract.js'

export interface FollowLocksOptions {
  /** Those that may keep the locks, as they are known now. */
  readonly services: () => readonly LockService[]
  readonly runtime: Runtime
  /** The locks that these sessions held for themselves are lost. */
  readonly onSessionsLost: (sessions: readonly number[]) => void
  readonly onError: (error: unknown) => void
  readonly patienceMs?: number | undefined
}

export interface FollowedLocks extends ProxyLocks {
  stop(): Promise<void>
}

const patienceMsDefault = 10_000
const pauseMsMin = 20
const renewMs = 1000

export function followLocks(options: FollowLocksOptions): FollowedLocks {
  const { services, runtime, onError } = options
  const patienceMs = options.patienceMs ?? patienceMsDefault
  const stopping = new AbortController()
  const inTransactions = new Set<number>()
  /** Sessions that hold something for themselves, and under which lease; undefined: they ask for the first. */
  const ofSessions = new Map<number, string | undefined>()
  let proxyName: string | undefined
  let lease: LockLease | undefined
  let next = 0
  let untold: readonly {
    readonly request: ReleaseRequest
    readonly leaseId: string | undefined
  }[] = []
  const keeping = keep()

  async function ask<T>(
    context: Context,
    patience: number,
    attempt: (service: LockService) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = runtime.monotonicMs() + patience
    for (let asked = 1; ; asked += 1) {
      context.signal.throwIfAborted()
      const known = services()
      const at = next
      const service = known[at % Math.max(known.length, 1)]
      try {
        if (service === undefined) throw new UnreachableError('determinate', 'no coordinator')
        return await attempt(service)
      } catch (error) {
        if (!isWorthAnother(error)) throw error
        if (next === at) next = (at + 1) % Math.max(known.length, 1)
        if (runtime.monotonicMs() >= deadlineMs) throw nobodyAnswers(error)
        if (asked % Math.max(known.length, 1) !== 0) continue
        await runtime.sleep(pauseMsMin * (1 + runtime.random() * 4), context.signal)
      }
    }
  }

  /** @param before the lease that was known when it was asked for: a slow answer tells of a lease that is over. */
  function note(told: LockLease | undefined, before: string | undefined): void {
    if (told === undefined) return
    if (lease?.id !== told.id && lease?.id !== before) return
    if (lease?.id === told.id) {
      if (told.holdsBefore > lease.holdsBefore) lease = told
      return
    }
    lease = told
    // The lease of a proxy that holds nothing ends: whoever asks then for its first lock has lost none.
    const lost = [...ofSessions].filter(([, held]) => held !== undefined && held !== told.id)
    loseSessions(lost.map(([session]) => session))
  }

  function loseSessions(sessions: readonly number[]): void {
    for (const session of sessions) ofSessions.delete(session)
    if (sessions.length > 0) options.onSessionsLost(sessions)
  }

  function noteOfSession(session: number, { outcome, lease: under }: LockAnswer): void {
    if (under === undefined || !ofSessions.has(session)) return
    const held = ofSessions.get(session)
    if (outcome !== 'held') {
      if (held === undefined) ofSessions.delete(session)
    } else if (under.id !== lease?.id) loseSessions([session])
    else ofSessions.set(session, under.id)
  }

  async function answered(
    request: LockRequest,
    context: Context,
    work: (service: LockService) => Promise<LockAnswer>,
  ): Promise<LockAnswer> {
    proxyName = request.proxy
    const before = lease?.id
    const { scope, session } = request
    if (scope === 'transaction') inTransactions.add(session)
    else if (!ofSessions.has(session)) ofSessions.set(session, undefined)
    const answer = await ask(context, patienceMs, work)
    note(answer.lease, before)
    if (scope === 'session') noteOfSession(session, answer)
    return answer
  }

  async function keep(): Promise<void> {
    const { signal } = stopping
    while (!signal.aborted) {
      await runtime.sleep(renewMs, signal).catch(() => {})
      if (signal.aborted) return
      await tellReleased().catch(onError)
      const isHolding = inTransactions.size > 0 || ofSessions.size > 0
      if (!isHolding || proxyName === undefined) continue
      const name = proxyName
      try {
        const before = lease?.id
        note(await ask({ signal }, renewMs, (service) => service.renew(name)), before)
      } catch (error) {
        if (!signal.aborted) onError(error)
      }
    }
  }

  async function tellReleased(): Promise<void> {
    const told = untold
    untold = []
    for (const { request, leaseId } of told) {
      if (leaseId !== undefined && leaseId !== lease?.id) continue
      try {
        await ask(backgroundContext, 0, (service) => service.release(request))
      } catch (error) {
        untold = [...untold, { request, leaseId }]
        onError(error)
      }
    }
  }

  function forget({ session, scope }: ReleaseRequest): void {
    if (scope.kind === 'everything' || (scope.kind === 'transaction' && scope.fromMark === 0))
      inTransactions.delete(session)
    if (scope.kind === 'everything' || scope.kind === 'session') ofSessions.delete(session)
  }

  return {
    lease: () => lease,
    attempt: (request, context) =>
      answered(request, context, (service) => service.attempt(request, context)),
    wait: (request, context) =>
      answered(request, context, (service) => service.wait(request, context)),
    taken: (request) => ask(backgroundContext, patienceMs, (service) => service.taken(request)),
    async release(request) {
      const leaseId = lease?.id
      forget(request)
      // Nobody has ever asked for anything.
      if (proxyName === undefined) return request.scope.kind !== 'one'
      try {
        return await ask(backgroundContext, 0, (service) => service.release(request))
      } catch (error) {
        if (request.scope.kind === 'one') throw error
        untold = [...untold, { request, leaseId }]
        return true
      }
    },
    renew: async () => lease,
    list: (limit) => ask(backgroundContext, patienceMs, (service) => service.list(limit)),
    async stop() {
      stopping.abort()
      await keeping
    },
  }
}

/** It does not keep the locks, does not answer, or its store does not. */
function isWorthAnother(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof StoreError) return true
  if (!(error instanceof DatabaseError)) return false
  return error.sqlState === SqlState.cannotConnectNow || error.sqlState === SqlState.adminShutdown
}

function nobodyAnswers(cause: unknown): DatabaseError {
  return new DatabaseError(SqlState.cannotConnectNow, 'no coordinator keeps the locks now', {
    cause,
  })
}

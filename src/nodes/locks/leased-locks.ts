/**
 * The lock service of a cluster, at the leading coordinator: locks in memory, under leases in the oracle's time.
 *
 * 1. A proxy has a lease: nobody else gets a lock of its sessions before all timestamps are at or above `holdsBefore`. Its commits
 *    under locks must be stamped below (CommitRequest.before). It renews each second.
 * 2. No lease reaches beyond `limit`, which is in the meta store before it is promised, under the leader's fence.
 * 3. A new leader begins by drawing a timestamp above the limit it finds: whatever was locked before can commit no more, or
 *    has, and whoever gets the lock now reads later than that. It has other leases: who held one before learns that it is lost.
 * 4. A proxy that is not heard of: its locks are free when a timestamp above its lease has been drawn. The same for the locks of
 *    a commit whose answer was lost. The oracle is not pushed ahead for that: it would end everybody's leases.
 *
 * No clock is compared with another; a monotonic one says when to give up hoping. Concurrency: one renewal of the limit, one end of
 * a proxy's lease at a time.
 */
import { checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampFrom, timestampZero } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { LockAnswer, LockLease, LockService, ReleaseRequest } from '#nodes/locks/contract.js'
import { createLocalLocks } from '#nodes/locks/local-locks.js'

export interface LeasedLocksOptions {
  readonly coordinator: Pick<
    Coordinator,
    'timestamp' | 'getSetting' | 'putSetting' | 'leaseCounter'
  >
  readonly runtime: Runtime
  /** Aborted when the coordinator leads no more. */
  readonly signal: AbortSignal
  readonly onError: (error: unknown) => void
}

/** Of a proxy. */
const leaseMs = 3500
/** The limit is put so far beyond what is promised: it is not written with each renewal. */
const aheadMs = 2000
/** A proxy renews each second while it holds anything. */
const silentMsMax = leaseMs
/** A lock is given under a lease that the proxy has time enough to renew. */
const freshMsMax = 1500
const lookMs = 500
const forgetMs = 60_000
const limitSetting = 'locks/limit'

interface Proxy {
  readonly id: string
  holdsBefore: Timestamp
  heardMs: number
  /** Its lease is being ended. */
  ending: Promise<void> | undefined
}

/** @throws 57P01; StoreError */
export async function openLeasedLocks(options: LeasedLocksOptions): Promise<LockService> {
  const { coordinator, runtime, signal, onError } = options
  const stored = await coordinator.getSetting(limitSetting)
  let limit = (stored === undefined ? 0 : Number(new TextDecoder().decode(stored))) as Timestamp
  await coordinator.timestamp(limit)
  const term = await coordinator.leaseCounter('locks-term', 1, 1)
  const table = createLocalLocks()
  const proxies = new Map<string, Proxy>()
  let leaseCount = 0
  let extending: Promise<void> | undefined

  signal.addEventListener('abort', () => table.close(notLeading()), { once: true })
  void watch()

  async function watch(): Promise<void> {
    let forgotMs = runtime.monotonicMs()
    while (!signal.aborted) {
      await runtime.sleep(lookMs, signal).catch(() => {})
      if (signal.aborted) return
      const nowMs = runtime.monotonicMs()
      for (const [name, proxy] of proxies) {
        if (nowMs - proxy.heardMs > silentMsMax) await endLease(name, proxy).catch(onError)
      }
      if (nowMs - forgotMs < forgetMs) continue
      forgotMs = nowMs
      table.forgetEnded()
    }
  }

  async function endLease(name: string, proxy: Proxy): Promise<void> {
    proxy.ending ??= pass(proxy.holdsBefore)
      .then(() => {
        proxies.delete(name)
        table.dropProxy(name)
      })
      .finally(() => {
        proxy.ending = undefined
      })
    await proxy.ending
  }

  /** Resolves when everything is stamped above. */
  async function pass(timestamp: Timestamp): Promise<void> {
    while (!signal.aborted) {
      if ((await coordinator.timestamp()) > timestamp) return
      await runtime.sleep(lookMs, signal)
    }
    throw notLeading()
  }

  async function releaseLater(request: ReleaseRequest, holdsBefore: Timestamp): Promise<void> {
    for (;;) {
      try {
        await pass(holdsBefore)
        await table.release(request)
        return
      } catch (error) {
        if (signal.aborted) return
        onError(error)
        await runtime.sleep(lookMs, signal).catch(() => {})
      }
    }
  }

  async function extendLimit(wanted: Timestamp): Promise<void> {
    while (limit < wanted) {
      extending ??= (async () => {
        const next = later(wanted, aheadMs)
        await coordinator.putSetting(limitSetting, new TextEncoder().encode(String(next)))
        limit = next
      })().finally(() => {
        extending = undefined
      })
      await extending
    }
  }

  /** Heard of a proxy. `isRenewing`: its lease is made as long as it can be. */
  async function leaseOf(name: string, isRenewing: boolean): Promise<LockLease> {
    for (;;) {
      if (signal.aborted) throw notLeading()
      let proxy = proxies.get(name)
      if (proxy?.ending !== undefined) {
        await proxy.ending.catch(() => {})
        continue
      }
      if (proxy === undefined) {
        leaseCount += 1
        const id = `${term}/${leaseCount}`
        proxy = { id, holdsBefore: timestampZero, heardMs: 0, ending: undefined }
        proxies.set(name, proxy)
      } else if (
        !isRenewing &&
        proxy.holdsBefore > timestampZero &&
        runtime.monotonicMs() - proxy.heardMs < freshMsMax
      ) {
        return { id: proxy.id, holdsBefore: proxy.holdsBefore }
      }
      proxy.heardMs = runtime.monotonicMs()
      const wanted = later(await coordinator.timestamp(), leaseMs)
      await extendLimit(wanted)
      if (signal.aborted) throw notLeading()
      // Ended meanwhile.
      if (proxies.get(name) !== proxy || proxy.ending !== undefined) continue
      if (wanted > proxy.holdsBefore) proxy.holdsBefore = wanted
      return { id: proxy.id, holdsBefore: proxy.holdsBefore }
    }
  }

  /** The lease is there before the lock, and still there after. */
  async function leased(name: string, work: () => Promise<LockAnswer>): Promise<LockAnswer> {
    const lease = await leaseOf(name, false)
    const answer = await work()
    const after = await leaseOf(name, false)
    if (after.id !== lease.id) throw notLeading()
    return { ...answer, lease: after }
  }

  return {
    attempt: (request, context) =>
      leased(request.proxy, async () => {
        checkCancelled(context)
        return await table.attempt(request, context)
      }),
    wait: (request, context) =>
      leased(request.proxy, async () => {
        checkCancelled(context)
        return await table.wait(request, context)
      }),
    async taken(request) {
      if (signal.aborted) throw notLeading()
      return await table.taken(request)
    },
    async release(request) {
      if (signal.aborted) throw notLeading()
      const proxy = proxies.get(request.proxy)
      if (!request.isUnclear || proxy === undefined) return await table.release(request)
      void releaseLater(request, proxy.holdsBefore)
      return true
    },
    renew: (name) => leaseOf(name, true),
    async list(countMax) {
      if (signal.aborted) throw notLeading()
      return await table.list(countMax)
    },
  }
}

function later(timestamp: Timestamp, ms: number): Timestamp {
  return (timestamp + timestampFrom(ms, 0) - timestampFrom(0, 0)) as Timestamp
}

/** 57P03: the next leader has the locks. */
function notLeading(): DatabaseError {
  return new DatabaseError(SqlState.cannotConnectNow, 'this node does not keep the locks any more')
}

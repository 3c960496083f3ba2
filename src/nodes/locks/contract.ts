/**
 * The lock service: row locks, unique keys that storage cannot judge, advisory and table locks of all sessions of all proxies, in
 * one place, so that deadlocks are found whatever the locks are. In memory; docs/adr/2026-11-21-lock-service.md says how a lock
 * keeps its meaning when the service or a proxy dies: a commit under locks must be stamped before their lease ends.
 *
 * A session is named by its proxy, as is its transaction: numbers that only rise. Everything may be repeated.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'

export type LockMode = 'shared' | 'exclusive'

/** A table's rows and unique keys: its OID. 'advisory', 'table': names of their own. */
export type LockSpace = number | 'advisory' | 'table'

/** Row ids, or names. */
export type LockNames = Float64Array | readonly (string | number)[]

export interface LockRequest {
  /** A life of a proxy. */
  readonly proxy: string
  /** Unique in that life. */
  readonly session: number
  /** As in pg_stat_activity. */
  readonly processId: number
  /** The session's current one; 1, 2, 3, … */
  readonly transaction: number
  /** Until when it is held at most. A session's own locks are counted: each is released by itself. */
  readonly scope: 'transaction' | 'session'
  /** Savepoints that the transaction had made before: releasing from a mark on undoes what came after. */
  readonly mark: number
  readonly space: LockSpace
  readonly names: LockNames
  readonly mode: LockMode
  /** 'each': one after the other, up to the first that is taken. 'all': all or none. */
  readonly take: 'each' | 'all'
  /** After a wait. 'look': what is locked may have changed, the caller looks again. 'take': goes on. */
  readonly afterWait: 'look' | 'take'
  /** Rises with each request of the session: one that comes twice is granted once. */
  readonly request: number
}

/** 'blocked': others hold one of them. 'waited': they did, and do no more; it is not taken yet. */
export type LockOutcome = 'held' | 'blocked' | 'waited'

/** What a proxy's locks are worth: nobody else gets one of them before all timestamps are at or above `holdsBefore`. */
export interface LockLease {
  /** Another one: everything that was held before is lost. */
  readonly id: string
  readonly holdsBefore: Timestamp
}

export interface LockAnswer {
  readonly outcome: LockOutcome
  /** undefined: held as long as this process lives. */
  readonly lease: LockLease | undefined
}

export type ReleaseScope =
  /** What the transaction took at or after the mark; at 0 the transaction is over. */
  | { readonly kind: 'transaction'; readonly transaction: number; readonly fromMark: number }
  /** One lock of the session itself. */
  | {
      readonly kind: 'one'
      readonly space: LockSpace
      readonly name: string
      readonly mode: LockMode
    }
  | { readonly kind: 'session' }
  /** The session is over. */
  | { readonly kind: 'everything' }

export interface ReleaseRequest {
  readonly proxy: string
  readonly session: number
  readonly scope: ReleaseScope
  /** A commit under these locks may happen yet: they are free when it can no more. */
  readonly isUnclear: boolean
  /** As in LockRequest. */
  readonly request: number
}

/** For pg_locks. */
export interface LockFact {
  readonly proxy: string
  readonly processId: number
  readonly space: LockSpace
  readonly name: string | number
  readonly mode: LockMode
  readonly isGranted: boolean
}

export interface LockService {
  /** At once, if the service is there. */
  attempt(request: LockRequest, context: Context): Promise<LockAnswer>
  /** As attempt(), but waits for the first that is taken. @throws 40P01; the context's reason */
  wait(request: LockRequest, context: Context): Promise<LockAnswer>
  /** Of these rows, those that somebody else holds in the way. */
  taken(
    request: Pick<LockRequest, 'proxy' | 'session' | 'space' | 'mode'> & {
      readonly names: Float64Array
    },
  ): Promise<Float64Array>
  /** @returns false: 'one' was not held */
  release(request: ReleaseRequest): Promise<boolean>
  /** Not heard of for some seconds, a proxy loses all its locks. */
  renew(proxy: string): Promise<LockLease | undefined>
  /** So many at most. */
  list(limit: number): Promise<readonly LockFact[]>
}

/** As a proxy sees it: renewed by itself. */
export interface ProxyLocks extends LockService {
  /** As it is known now. undefined: there is none, locks are held as long as this process lives. */
  lease(): LockLease | undefined
}

/**
 * The locks of a session, wherever the lock service is: it names what it asks for, and remembers whether there is anything to give
 * back and under which lease it is held. A commit under locks must be stamped before that lease ends; when the lease has become
 * another one, the locks are lost and the transaction with them (40001).
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type {
  LockAnswer,
  LockMode,
  LockNames,
  LockRequest,
  LockSpace,
  ProxyLocks,
} from '#nodes/locks/contract.js'

export interface WantedLocks {
  readonly space: LockSpace
  readonly names: LockNames
  readonly mode: LockMode
  readonly scope?: LockRequest['scope']
  readonly take?: LockRequest['take']
  readonly afterWait?: LockRequest['afterWait']
}

export class SessionLocks {
  readonly #service: ProxyLocks
  readonly #proxy: string
  readonly #session: number
  readonly #processId: number
  #transaction = 1
  #mark = 0
  #request = 0
  /** Something may be held. */
  readonly #held: { transaction: boolean; session: boolean } = {
    transaction: false,
    session: false,
  }
  #leaseId: string | undefined

  constructor(service: ProxyLocks, proxy: string, session: number, processId: number) {
    this.#service = service
    this.#proxy = proxy
    this.#session = session
    this.#processId = processId
  }

  /** @returns whether they are held; otherwise somebody has one of them. @throws 40001 */
  async attempt(wanted: WantedLocks, context: Context): Promise<boolean> {
    if (wanted.names.length === 0) return true
    const request = this.#requestOf(wanted)
    return this.#note(request, await this.#service.attempt(request, context)).outcome === 'held'
  }

  /** @returns whether they are held; otherwise the caller looks again. @throws 40001; 40P01; the context's reason */
  async wait(wanted: WantedLocks, context: Context): Promise<boolean> {
    const request = this.#requestOf(wanted)
    return this.#note(request, await this.#service.wait(request, context)).outcome === 'held'
  }

  /** Of these rows, those that others hold in the way. */
  async taken(tableId: number, rowIds: Float64Array, mode: LockMode): Promise<ReadonlySet<number>> {
    if (rowIds.length === 0) return new Set()
    const taken = await this.#service.taken({
      ...{ proxy: this.#proxy, session: this.#session },
      ...{ space: tableId, names: rowIds, mode },
    })
    return new Set(taken)
  }

  /** What is locked from now on goes with a rollback to the savepoint that has just been made. @returns the mark */
  savepoint(): number {
    this.#mark += 1
    return this.#mark
  }

  /** Something may be held until the transaction ends. */
  get isHeld(): boolean {
    return this.#held.transaction
  }

  /** The transaction goes back to the savepoint, or has failed: as in PostgreSQL others need not wait for its ROLLBACK. */
  async fail(mark: number | undefined): Promise<void> {
    if (mark === undefined) await this.endTransaction(false)
    else await this.rollbackTo(mark)
  }

  /** To a savepoint. */
  async rollbackTo(mark: number): Promise<void> {
    if (this.#held.transaction) await this.#releaseTransaction(mark, false)
  }

  /** @param isUnclear it may have committed, or commit yet */
  async endTransaction(isUnclear: boolean): Promise<void> {
    const wasHeld = this.#held.transaction
    try {
      if (wasHeld) await this.#releaseTransaction(0, isUnclear)
    } finally {
      this.#held.transaction = false
      if (wasHeld) this.#transaction += 1
      if (!this.#held.session) this.#leaseId = undefined
      this.#mark = 0
    }
  }

  /** One advisory lock of the session. @returns whether it was held */
  async releaseOne(space: LockSpace, name: string, mode: LockMode): Promise<boolean> {
    if (!this.#held.session) return false
    this.#request += 1
    return await this.#service.release({
      ...{ proxy: this.#proxy, session: this.#session, request: this.#request },
      ...{ scope: { kind: 'one', space, name, mode }, isUnclear: false },
    })
  }

  /** All of the session, but not of the transaction. */
  async releaseSession(): Promise<void> {
    if (!this.#held.session) return
    await this.#release({ kind: 'session' }, false)
    this.#held.session = false
  }

  async close(): Promise<void> {
    if (this.#held.session || this.#held.transaction || this.#request > 0)
      await this.#release({ kind: 'everything' }, false)
  }

  /**
   * Before when a commit must be stamped.
   * @returns undefined: nothing is locked, or locks do not end
   * @throws 40001 when they are lost
   */
  commitBefore(): Timestamp | undefined {
    if (this.#leaseId === undefined) return undefined
    const lease = this.#service.lease()
    if (lease?.id !== this.#leaseId) throw locksLost()
    return lease.holdsBefore
  }

  #requestOf(wanted: WantedLocks): LockRequest {
    const { scope = 'transaction', take = 'each', afterWait = 'look' } = wanted
    this.#held[scope] = true
    this.#request += 1
    return {
      proxy: this.#proxy,
      session: this.#session,
      processId: this.#processId,
      transaction: this.#transaction,
      request: this.#request,
      mark: this.#mark,
      space: wanted.space,
      names: wanted.names,
      mode: wanted.mode,
      scope,
      take,
      afterWait,
    }
  }

  #note({ names, take }: LockRequest, answer: LockAnswer): LockAnswer {
    const { lease, outcome } = answer
    if (lease === undefined) return answer
    const tookNothing = outcome !== 'held' && (names.length === 1 || take === 'all')
    if (this.#leaseId === undefined && tookNothing) return answer
    this.#leaseId ??= lease.id
    if (this.#leaseId !== lease.id) throw locksLost()
    return answer
  }

  async #releaseTransaction(fromMark: number, isUnclear: boolean): Promise<void> {
    await this.#release(
      { kind: 'transaction', transaction: this.#transaction, fromMark },
      isUnclear,
    )
  }

  async #release(
    scope: Parameters<ProxyLocks['release']>[0]['scope'],
    isUnclear: boolean,
  ): Promise<void> {
    this.#request += 1
    await this.#service.release({
      ...{ proxy: this.#proxy, session: this.#session, request: this.#request },
      ...{ scope, isUnclear },
    })
  }
}

export function locksLost(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access: the locks of the transaction were lost',
    { hint: 'The node that kept them was away. Try the transaction again.' },
  )
}

/**
 * Row locks: a transaction that changes a row holds it until it ends; whoever else wants to change it waits, then looks
 * again (READ COMMITTED) or gives up with 40001 (REPEATABLE READ). Held in the proxy; the streaming node still checks
 * at commit that every deleted row is live, so that a lock missed elsewhere costs a retry and never a lost update.
 */
import type { Context } from '#base/context.js'
import { DatabaseError } from '#base/errors.js'

export type LockMode = 'shared' | 'exclusive'

interface Holder {
  readonly keys: Set<string>
  /** Resolves when the transaction has ended. */
  readonly ended: Promise<void>
  readonly end: () => void
  waitsFor: object | undefined
}

interface Lock {
  readonly mode: LockMode
  readonly owners: ReadonlySet<object>
}

export class RowLocks {
  readonly #locks = new Map<string, Lock>()
  readonly #holders = new Map<object, Holder>()

  /**
   * @param rowIds stored rows, or names of unique keys that no row has yet
   * @returns true when all are held now; false after waiting for another transaction: the rows must be read again
   * @throws 40P01; the context's reason
   */
  async acquire(
    transaction: object,
    tableId: number,
    rowIds: Iterable<number | string>,
    mode: LockMode,
    context: Context,
  ): Promise<boolean> {
    const holder = this.#holder(transaction)
    for (const rowId of rowIds) {
      const key = `${tableId}:${rowId}`
      const other = this.#other(transaction, key, mode)
      if (other !== undefined) {
        await this.#waitFor(transaction, holder, other, context)
        return false
      }
      this.#take(transaction, key, mode)
      holder.keys.add(key)
    }
    return true
  }

  /** Whether it could have the row now. */
  isFree(transaction: object, tableId: number, rowId: number, mode: LockMode): boolean {
    return this.#other(transaction, `${tableId}:${rowId}`, mode) === undefined
  }

  /** Somebody else whose lock is in the way. */
  #other(transaction: object, key: string, mode: LockMode): object | undefined {
    const lock = this.#locks.get(key)
    if (lock === undefined || (mode === 'shared' && lock.mode === 'shared')) return undefined
    for (const owner of lock.owners) if (owner !== transaction) return owner
    return undefined
  }

  #take(transaction: object, key: string, mode: LockMode): void {
    const lock = this.#locks.get(key)
    if (lock === undefined) {
      this.#locks.set(key, { mode, owners: new Set([transaction]) })
      return
    }
    const isExclusive = mode === 'exclusive' || lock.mode === 'exclusive'
    this.#locks.set(key, {
      mode: isExclusive ? 'exclusive' : 'shared',
      owners: new Set([...lock.owners, transaction]),
    })
  }

  /** The transaction is over: its rows are free. */
  release(transaction: object): void {
    const holder = this.#holders.get(transaction)
    if (holder === undefined) return
    this.#holders.delete(transaction)
    for (const key of holder.keys) {
      const lock = this.#locks.get(key)
      const owners = new Set(lock?.owners)
      owners.delete(transaction)
      if (lock === undefined || owners.size === 0) this.#locks.delete(key)
      else this.#locks.set(key, { mode: lock.mode, owners })
    }
    holder.end()
  }

  #holder(transaction: object): Holder {
    let holder = this.#holders.get(transaction)
    if (holder === undefined) {
      let end: () => void = () => {}
      const ended = new Promise<void>((resolve) => {
        end = resolve
      })
      holder = { keys: new Set(), ended, end, waitsFor: undefined }
      this.#holders.set(transaction, holder)
    }
    return holder
  }

  async #waitFor(
    transaction: object,
    holder: Holder,
    owner: object,
    context: Context,
  ): Promise<void> {
    for (
      let next: object | undefined = owner;
      next !== undefined;
      next = this.#holders.get(next)?.waitsFor
    ) {
      if (next === transaction) throw new DatabaseError('40P01', 'deadlock detected')
    }
    const other = this.#holders.get(owner)
    if (other === undefined) return
    holder.waitsFor = owner
    let stop: () => void = () => {}
    const cancelled = new Promise<void>((resolve) => {
      stop = resolve
      context.signal.addEventListener('abort', stop, { once: true })
    })
    try {
      await Promise.race([other.ended, cancelled])
    } finally {
      holder.waitsFor = undefined
      context.signal.removeEventListener('abort', stop)
    }
    context.signal.throwIfAborted()
  }
}

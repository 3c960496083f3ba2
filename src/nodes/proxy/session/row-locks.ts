/**
 * Row locks: a transaction that changes a row holds it until it ends; whoever else wants to change it waits, then looks
 * again (READ COMMITTED) or gives up with 40001 (REPEATABLE READ). Held in the proxy; the streaming node still checks
 * at commit that every deleted row is live, so that a lock missed elsewhere costs a retry and never a lost update.
 */
import type { Context } from '#base/context.js'
import { DatabaseError } from '#base/errors.js'

interface Holder {
  readonly keys: Set<string>
  /** Resolves when the transaction has ended. */
  readonly ended: Promise<void>
  readonly end: () => void
  waitsFor: object | undefined
}

export class RowLocks {
  readonly #owners = new Map<string, object>()
  readonly #holders = new Map<object, Holder>()

  /**
   * @param rowIds stored rows, or names of unique keys that no row has yet
   * @returns true when all are held now; false after waiting for another transaction: the rows must be read again
   */
  async acquire(
    transaction: object,
    tableId: number,
    rowIds: Iterable<number | string>,
    context: Context,
  ): Promise<boolean> {
    const holder = this.#holder(transaction)
    for (const rowId of rowIds) {
      const key = `${tableId}:${rowId}`
      const owner = this.#owners.get(key)
      if (owner === transaction) continue
      if (owner !== undefined) {
        await this.#waitFor(transaction, holder, owner, context)
        return false
      }
      this.#owners.set(key, transaction)
      holder.keys.add(key)
    }
    return true
  }

  /** Whether nobody else holds any of them. */
  free(transaction: object, tableId: number, rowIds: Iterable<number>): boolean {
    for (const rowId of rowIds) {
      const owner = this.#owners.get(`${tableId}:${rowId}`)
      if (owner !== undefined && owner !== transaction) return false
    }
    return true
  }

  /** The transaction is over: its rows are free. */
  release(transaction: object): void {
    const holder = this.#holders.get(transaction)
    if (holder === undefined) return
    this.#holders.delete(transaction)
    for (const key of holder.keys) this.#owners.delete(key)
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

/**
 * What is deleted of one sealed segment, as the streaming node must know it: to tell whether a row is live, and to write it
 * to a deletes object before the log forgets it.
 */
import { type Timestamp, timestampMax } from '#base/timestamp.js'

export class SealedDeletes {
  readonly #deleted = new Map<number, Timestamp>()
  /** Log position at or before that of every delete that no deletes object holds; +Infinity: none. */
  unsavedSince = Number.POSITIVE_INFINITY

  get count(): number {
    return this.#deleted.size
  }

  /** @param count as it was: undefined when it was not known that they are all written down */
  hasOnly(count: number | undefined): boolean {
    return this.#deleted.size === count
  }

  /** Rows deleted at or before. */
  countUntil(at: Timestamp): number {
    let count = 0
    for (const deletedAt of this.#deleted.values()) if (deletedAt <= at) count += 1
    return count
  }

  has(rowId: number): boolean {
    return this.#deleted.has(rowId)
  }

  /** timestampMax: not deleted. */
  deletedAt(rowId: number): Timestamp {
    return this.#deleted.get(rowId) ?? timestampMax
  }

  /** @returns false if the row was deleted before */
  add(rowId: number, at: Timestamp, position: number): boolean {
    if (this.#deleted.has(rowId)) return false
    this.#deleted.set(rowId, at)
    if (position < this.unsavedSince) this.unsavedSince = position
    return true
  }

  /** Those that a deletes object holds. */
  addSaved(rowIds: Float64Array, deleted: Float64Array): void {
    rowIds.forEach((rowId, i) => {
      this.#deleted.set(rowId, (deleted[i] ?? timestampMax) as Timestamp)
    })
  }

  entries(): IterableIterator<[number, Timestamp]> {
    return this.#deleted.entries()
  }

  /** All of them by ascending row id. */
  sorted(): { readonly rowIds: Float64Array; readonly deleted: Float64Array } {
    const rowIds = Float64Array.from(this.#deleted.keys()).sort()
    const deleted = rowIds.map((rowId) => this.#deleted.get(rowId) ?? timestampMax)
    return { rowIds, deleted }
  }
}

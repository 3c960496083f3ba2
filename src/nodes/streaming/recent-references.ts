/**
 * Keys that commits have referred to lately (foreign keys): whoever read before such a commit and deletes the row has not
 * seen the reference, and must not go on. PostgreSQL holds a FOR KEY SHARE lock instead.
 * What is forgotten (too many, or the node was opened anew) is made up for by a time: whoever read before it may not have seen
 * a reference that nobody remembers.
 */
import { type Timestamp, timestampZero } from '#base/timestamp.js'

const entryCountMax = 100_000

interface Reference {
  readonly at: Timestamp
  readonly indexOid: number
  readonly key: string
}

export class RecentReferences {
  /** By table and row id, oldest first. */
  readonly #byRow = new Map<string, Reference>()
  readonly #entryCountMax: number
  #forgottenAt: Timestamp = timestampZero

  constructor(countMax = entryCountMax) {
    this.#entryCountMax = countMax
  }

  /** Everything up to then is forgotten. */
  forgetBefore(at: Timestamp): void {
    if (at > this.#forgottenAt) this.#forgottenAt = at
  }

  /** Who read then may have missed a reference that is not remembered. */
  isForgotten(readAt: Timestamp): boolean {
    return readAt < this.#forgottenAt
  }

  add(tableId: number, rowId: number, reference: Reference): void {
    const name = `${tableId}:${rowId}`
    this.#byRow.delete(name)
    this.#byRow.set(name, reference)
    if (this.#byRow.size <= this.#entryCountMax) return
    const [oldest] = this.#byRow
    if (oldest === undefined) return
    this.#byRow.delete(oldest[0])
    this.forgetBefore(oldest[1].at)
  }

  get isEmpty(): boolean {
    return this.#byRow.size === 0
  }

  /** A reference to the row made after `readAt`. */
  since(tableId: number, rowId: number, readAt: Timestamp): Reference | undefined {
    const found = this.#byRow.get(`${tableId}:${rowId}`)
    return found !== undefined && found.at > readAt ? found : undefined
  }
}

/**
 * Deletes of one segment that its manifest's deletes object does not hold: kept whether the segment is in memory or not,
 * applied whenever it is loaded. 16 bytes each.
 */
import type { Timestamp } from '#base/timestamp.js'

export class SegmentDeletes {
  #rowIds = new Float64Array(0)
  #deleted = new Float64Array(0)
  #count = 0

  get count(): number {
    return this.#count
  }

  get byteLength(): number {
    return this.#rowIds.byteLength + this.#deleted.byteLength
  }

  add(rowIds: Float64Array, at: Timestamp): void {
    const count = this.#count + rowIds.length
    if (count > this.#rowIds.length) this.#grow(Math.max(count, this.#rowIds.length * 2))
    this.#rowIds.set(rowIds, this.#count)
    this.#deleted.fill(at, this.#count, count)
    this.#count = count
  }

  /** A deletes object holds these (ascending) by now. */
  dropSaved(saved: Float64Array): void {
    if (this.#count === 0 || saved.length === 0) return
    const known = new Set(saved)
    let kept = 0
    for (let i = 0; i < this.#count; i += 1) {
      const rowId = this.#rowIds[i] ?? 0
      if (known.has(rowId)) continue
      this.#rowIds[kept] = rowId
      this.#deleted[kept] = this.#deleted[i] ?? 0
      kept += 1
    }
    this.#count = kept
    if (kept * 4 < this.#rowIds.length) this.#grow(kept)
  }

  /** Row ids and, by position, timestamps. */
  all(): { readonly rowIds: Float64Array; readonly deleted: Float64Array } {
    return {
      rowIds: this.#rowIds.subarray(0, this.#count),
      deleted: this.#deleted.subarray(0, this.#count),
    }
  }

  #grow(capacity: number): void {
    const rowIds = new Float64Array(capacity)
    const deleted = new Float64Array(capacity)
    rowIds.set(this.#rowIds.subarray(0, this.#count))
    deleted.set(this.#deleted.subarray(0, this.#count))
    this.#rowIds = rowIds
    this.#deleted = deleted
  }
}

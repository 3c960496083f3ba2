/** Row ids and timestamps of a growing segment, in doubling arrays that the native handle is kept told of. */
import { invariant } from '#base/errors.js'
import { timestampMax } from '#base/timestamp.js'
import type { NativeSegment } from '#engine/index/native.js'

const capacityFirst = 64

export class GrowingTimestamps {
  rowIds = new Float64Array(capacityFirst)
  inserted = new Float64Array(capacityFirst).fill(timestampMax)
  deleted = new Float64Array(capacityFirst).fill(timestampMax)
  rowCount = 0
  readonly #native: NativeSegment
  #told: Float64Array | undefined

  constructor(native: NativeSegment) {
    this.#native = native
  }

  append(baseRowId: number, count: number): void {
    const last = this.rowCount === 0 ? -1 : (this.rowIds[this.rowCount - 1] ?? -1)
    invariant('SEG-1', baseRowId > last, () => `row id ${baseRowId} after ${last}`)
    this.#reserve(this.rowCount + count)
    for (let i = 0; i < count; i += 1) this.rowIds[this.rowCount + i] = baseRowId + i
    this.rowCount += count
  }

  #reserve(wanted: number): void {
    const { length } = this.rowIds
    if (wanted <= length) return
    const capacity = Math.max(wanted, length * 2)
    this.rowIds = grown(this.rowIds, capacity)
    this.inserted = grown(this.inserted, capacity).fill(timestampMax, length)
    this.deleted = grown(this.deleted, capacity).fill(timestampMax, length)
  }

  /** Ordinal of the row id, or -1. Row ids mostly follow without gaps: look there first. */
  locate(rowId: number): number {
    const { rowIds, rowCount } = this
    const guess = rowId - (rowIds[0] ?? 0)
    if (guess >= 0 && guess < rowCount && rowIds[guess] === rowId) return guess
    let low = 0
    let high = rowCount - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const found = rowIds[middle] ?? 0
      if (found === rowId) return middle
      if (found < rowId) low = middle + 1
      else high = middle - 1
    }
    return -1
  }

  /** Tells the native handle of the arrays as they are now. */
  prepare(): void {
    if (this.#told === this.inserted) return
    this.#native.setTimestamps(this.inserted, this.deleted)
    this.#told = this.inserted
  }
}

function grown(values: Float64Array, capacity: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(capacity)
  larger.set(values)
  return larger
}

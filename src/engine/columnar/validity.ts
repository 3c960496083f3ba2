/** Arrow's validity bits while rows are appended: bit i set (LSB first) = row i is not NULL. */
import type { Column } from '#engine/columnar/column.js'

/** Validity bits, made when the first NULL comes. */
export class Validity {
  bits: Uint8Array | undefined
  nullCount = 0

  /** @returns true if the buffer was replaced. */
  grow(capacity: number): boolean {
    if (this.bits === undefined) return false
    const grown = new Uint8Array((capacity + 7) >> 3)
    grown.set(this.bits)
    this.bits = grown
    return true
  }

  /** @returns true if bits appeared. */
  appendNull(row: number, capacity: number): boolean {
    this.nullCount += 1
    if (this.bits !== undefined) return false
    const bits = new Uint8Array((capacity + 7) >> 3)
    bits.fill(0xff, 0, row >> 3)
    if ((row & 7) !== 0) bits[row >> 3] = (1 << (row & 7)) - 1
    this.bits = bits
    return true
  }

  appendValid(row: number): void {
    const { bits } = this
    if (bits !== undefined) bits[row >> 3] = (bits[row >> 3] ?? 0) | (1 << (row & 7))
  }

  /** @returns true if bits appeared. */
  appendFrom(column: Column, from: number, to: number, row: number, capacity: number): boolean {
    let appeared = false
    if (column.validity === undefined && this.bits === undefined) return false
    for (let i = from; i < to; i += 1) {
      if (!isSet(column.validity, i))
        appeared = this.appendNull(row + i - from, capacity) || appeared
      else this.appendValid(row + i - from)
    }
    return appeared
  }

  finish(length: number): Uint8Array | undefined {
    return this.bits?.slice(0, (length + 7) >> 3)
  }
}

function isSet(bits: Uint8Array | undefined, row: number): boolean {
  return bits === undefined || (((bits[row >> 3] ?? 0) >> (row & 7)) & 1) !== 0
}

/**
 * Hash index of a unique key over the rows of one segment: open addressing over typed arrays, no object per row.
 *
 *   slots   Int32Array, ordinal + 1 of the newest row with the key, 0 = free; power of two, at most 5/8 full
 *   hashes  Uint32Array, the hash of the row in the slot
 *   older   Int32Array per row: ordinal + 1 of the next older row with an equal key, 0 = none
 *
 * Several versions of one key may lie in a segment (deleted ones and the live one): they are chained newest first and the
 * caller judges visibility. Equality is PostgreSQL's default equality as in columnar/key.ts (numeric 1.0 = 1.00, bpchar
 * without trailing spaces, -0 = 0, NaN = NaN, other types by their bytes). Rows with a NULL in the key are left out unless
 * nullsNotDistinct. Columns are passed in every call because a growing segment replaces its buffers; their values below
 * `rowCount` must not change.
 *
 * Measured: 340,000 int8 keys are indexed in 30 ms; a look-up takes about 0.25 µs, with making its probe 2 µs.
 */
import { invariant } from '#base/errors.js'
import type { Column, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder, isNull } from '#engine/columnar/column-builder.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'
import { KeyFilter } from '#engine/segment/key-filter.js'
import { hashKeyRow, hashKeyRows, keyRowsEqual } from '#engine/segment/key-hash.js'

export class KeyIndex {
  readonly attnums: readonly number[]
  readonly #typeNames: readonly string[]
  readonly #nullsNotDistinct: boolean
  #slots = new Int32Array(16)
  #hashes = new Uint32Array(16)
  #older = new Int32Array(0)
  #used = 0
  #rowCount = 0

  /** @param columns the key's columns in the key's order: attnum and type name decide, the rest is not looked at. */
  constructor(
    columns: readonly Pick<ColumnSchema, 'attnum' | 'typeName'>[],
    nullsNotDistinct: boolean,
  ) {
    this.attnums = columns.map(({ attnum }) => attnum)
    this.#typeNames = columns.map(({ typeName }) => typeName)
    this.#nullsNotDistinct = nullsNotDistinct
  }

  /** Rows indexed so far. */
  get rowCount(): number {
    return this.#rowCount
  }

  get memoryBytes(): number {
    return this.#slots.byteLength + this.#hashes.byteLength + this.#older.byteLength
  }

  /** Indexes rows rowCount..toRow-1. @param columns the key's columns in the key's order. */
  extend(columns: readonly Column[], toRow: number): void {
    const from = this.#rowCount
    if (toRow <= from) return
    invariant('KEY-2', columns.length === this.attnums.length, 'columns of another key')
    this.reserve(toRow)
    const hashes = new Uint32Array(toRow - from)
    hashKeyRows(columns, this.#typeNames, from, toRow, hashes)
    const skipNulls =
      !this.#nullsNotDistinct && columns.some(({ validity }) => validity !== undefined)
    for (let row = from; row < toRow; row += 1) {
      if (skipNulls && columns.some((column) => isNull(column, row))) continue
      this.#insert(columns, row, hashes[row - from] ?? 0)
    }
    this.#rowCount = toRow
  }

  #insert(columns: readonly Column[], row: number, hash: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = hash & mask
    for (;;) {
      const found = slots[slot] ?? 0
      if (found === 0) {
        this.#used += 1
        break
      }
      if (
        this.#hashes[slot] === hash &&
        keyRowsEqual(columns, found - 1, columns, row, this.#typeNames)
      ) {
        this.#older[row] = found
        break
      }
      slot = (slot + 1) & mask
    }
    slots[slot] = row + 1
    this.#hashes[slot] = hash
  }

  /** Makes room for `rows` rows in all, as if every key were new. */
  reserve(rows: number): void {
    if (rows > this.#older.length) {
      const grown = new Int32Array(Math.max(rows, this.#older.length * 2, 64))
      grown.set(this.#older)
      this.#older = grown
    }
    const wanted = this.#used + (rows - this.#rowCount)
    if (wanted * 8 <= this.#slots.length * 5) return
    let size = this.#slots.length
    while (wanted * 8 > size * 5) size *= 2
    this.#rehash(size)
  }

  #rehash(size: number): void {
    const slots = new Int32Array(size)
    const hashes = new Uint32Array(size)
    const mask = size - 1
    for (let i = 0; i < this.#slots.length; i += 1) {
      const found = this.#slots[i] ?? 0
      if (found === 0) continue
      const hash = this.#hashes[i] ?? 0
      let slot = hash & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = found
      hashes[slot] = hash
    }
    this.#slots = slots
    this.#hashes = hashes
  }

  /** What says, without the rows, that a key is not here. */
  filter(): KeyFilter {
    const filter = new KeyFilter(this.#used)
    for (let slot = 0; slot < this.#slots.length; slot += 1) {
      if (this.#slots[slot] !== 0) filter.add(this.#hashes[slot] ?? 0)
    }
    return filter
  }

  /**
   * Ordinal of the newest row whose key equals row `row` of `probe`, or -1.
   * @param columns the indexed columns, @param probe columns of the same kinds (keyColumns() makes them from Datums)
   */
  find(columns: readonly Column[], probe: readonly Column[], row: number): number {
    if (!this.#nullsNotDistinct && probe.some((column) => isNull(column, row))) return -1
    const hash = hashKeyRow(probe, this.#typeNames, row)
    const slots = this.#slots
    const mask = slots.length - 1
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const found = slots[slot] ?? 0
      if (found === 0) return -1
      if (
        this.#hashes[slot] === hash &&
        keyRowsEqual(columns, found - 1, probe, row, this.#typeNames)
      ) {
        return found - 1
      }
    }
  }

  /** The next older row with the same key, or -1. */
  older(ordinal: number): number {
    return (this.#older[ordinal] ?? 0) - 1
  }
}

/** Keys as columns, to be looked up: row i is keys[i]. @throws 22P03 when a Datum does not fit its column */
export function keyColumns(
  columns: readonly Pick<ColumnSchema, 'kind' | 'width'>[],
  keys: readonly (readonly Datum[])[],
): readonly Column[] {
  return columns.map(({ kind, width }, position) => {
    const builder = createColumnBuilder(kind, width, keys.length)
    for (const key of keys) builder.appendDatum(key[position] ?? null)
    return builder.finish()
  })
}

import type { Column } from '#engine/columnar/column.js'
import type { NativeIndex, NativeInterimIndex, NativeSegment } from '#engine/index/native.js'
import { PlainIndex } from './plain-index.testing.js'
import { PlainInterim } from './plain-interim.testing.js'

interface Timestamps {
  readonly inserted: Float64Array
  readonly deleted: Float64Array
}

interface IndexSlot {
  readonly attnum: number
  readonly indexOid: number
  readonly index: PlainIndex
}

interface InterimSlot {
  readonly attnum: number
  readonly indexOid: number
  readonly index: PlainInterim
}

/** A segment's columns by reference, as native/segment.cc holds them. */
export class PlainSegment implements NativeSegment {
  readonly #columns = new Map<number, Column>()
  #timestamps: Timestamps | undefined
  #indexes: readonly IndexSlot[] = []
  #interims: readonly InterimSlot[] = []
  #closed = false

  setColumn(attnum: number, column: Column): void {
    this.checkOpen()
    this.#columns.set(attnum, column)
  }

  setTimestamps(inserted: Float64Array, deleted: Float64Array): void {
    this.checkOpen()
    this.#timestamps = { inserted, deleted }
  }

  setIndex(attnum: number, indexOid: number, index: NativeIndex | undefined): void {
    this.checkOpen()
    const others = this.#indexes.filter(
      (slot) => slot.attnum !== attnum || slot.indexOid !== indexOid,
    )
    if (index === undefined) {
      this.#indexes = others
      return
    }
    if (!(index instanceof PlainIndex)) throw new TypeError('not a native index')
    index.checkOpen()
    this.#indexes = [...others, { attnum, indexOid, index }]
  }

  setInterim(attnum: number, indexOid: number, index: NativeInterimIndex | undefined): void {
    this.checkOpen()
    const others = this.#interims.filter(
      (slot) => slot.attnum !== attnum || slot.indexOid !== indexOid,
    )
    if (index === undefined) {
      this.#interims = others
      return
    }
    if (!(index instanceof PlainInterim)) throw new TypeError('not a native interim index')
    this.#interims = [...others, { attnum, indexOid, index }]
  }

  close(): void {
    this.#closed = true
  }

  checkOpen(): void {
    if (this.#closed) throw new Error('segment is closed')
  }

  get columns(): ReadonlyMap<number, Column> {
    return this.#columns
  }

  get timestamps(): Timestamps | undefined {
    return this.#timestamps
  }

  get interims(): readonly InterimSlot[] {
    return this.#interims
  }

  get indexes(): readonly IndexSlot[] {
    return this.#indexes
  }
}

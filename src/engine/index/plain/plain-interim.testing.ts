/**
 * A growing segment's graph as the simulator has it: the rows that it took in, copied, so that rows that change under it, or
 * others than it was given, are found out.
 */
import type { Column, VectorColumn } from '#engine/columnar/column.js'
import type {
  InterimOptions,
  NativeIndex,
  NativeInterimIndex,
  NativeSegment,
} from '#engine/index/native.js'
import { buildPlainIndex, type PlainFiles, type PlainIndex } from './plain-index.testing.js'

/** A PlainSegment, which has graphs of this kind itself. */
interface WithColumns {
  readonly columns: ReadonlyMap<number, Column>
}

export class PlainInterim implements NativeInterimIndex {
  readonly #options: InterimOptions
  readonly #files: PlainFiles
  #index: PlainIndex | undefined
  #closed = false

  constructor(options: InterimOptions, files: PlainFiles) {
    this.#options = options
    this.#files = files
  }

  get metric(): InterimOptions['metric'] {
    return this.#options.metric
  }

  get dimensions(): number {
    return this.#options.dimensions
  }

  /** Of the rows taken in. */
  get index(): PlainIndex | undefined {
    return this.#index
  }

  get rowCount(): number {
    this.#checkOpen()
    return this.#index?.built.rowCount ?? 0
  }

  get memoryBytes(): number {
    this.#checkOpen()
    return this.#index?.built.column.values.byteLength ?? 0
  }

  async extend(segment: NativeSegment, attnum: number, rowCount: number): Promise<void> {
    this.#checkOpen()
    const column = (segment as unknown as WithColumns).columns.get(attnum)
    if (column?.kind !== 'vector' || column.dimensions !== this.#options.dimensions) {
      throw new Error("no vector column of the index's dimensions")
    }
    if (rowCount <= this.rowCount) return
    const built = this.#build(column, rowCount)
    await null
    if (!this.#closed) this.#index = built
  }

  #build({ values, validity }: VectorColumn, rowCount: number): PlainIndex {
    const options = { ...this.#options, values, validity, rowCount, threads: 1 }
    return buildPlainIndex(options, this.#files)
  }

  async copy(): Promise<NativeIndex> {
    this.#checkOpen()
    if (this.#index === undefined) throw new Error('the graph has no rows')
    const { column, rowCount } = this.#index.built
    return this.#build(column, rowCount)
  }

  close(): void {
    this.#closed = true
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('interim index is closed')
  }
}

/**
 * Graphs over the first rows of a growing segment, one per vector index of its table, so that a search does not get slower
 * while rows come in. Rows beyond a graph are scanned. A small segment needs none: scanning it costs as little.
 *
 * Concurrency: extend() and finish() take turns; searches never wait for them. close() may come in between.
 */
import { Mutex } from '#base/async/mutex.js'
import type { ColumnSchema, VectorIndexSchema } from '#engine/columnar/schema.js'
import type {
  Native,
  NativeIndex,
  NativeInterimIndex,
  NativeSegment,
} from '#engine/index/native.js'

/** Rows that one call takes in: some hundred milliseconds of one thread. */
const rowsPerTurn = 1024

export interface InterimOwner {
  readonly native: NativeSegment
  /** First so many rows are committed or will never be. */
  readonly settledCount: number
  readonly rowCount: number
  columnSchema(attnum: number): ColumnSchema | undefined
  /** The native handle knows the column as it is now. */
  prepareColumn(attnum: number): void
}

interface Graph {
  readonly schema: VectorIndexSchema
  readonly index: NativeInterimIndex
}

export interface FinishedGraph {
  readonly schema: VectorIndexSchema
  /** Over all rows of the segment; the caller closes it. */
  readonly index: NativeIndex
}

export class GrowingInterim {
  readonly #graphs = new Map<number, Graph>()
  readonly #turn = new Mutex()
  #closed = false

  get isEmpty(): boolean {
    return this.#graphs.size === 0
  }

  get memoryBytes(): number {
    let bytes = 0
    for (const { index } of this.#graphs.values()) bytes += index.memoryBytes
    return bytes
  }

  /** Rows that a search need not scan. */
  covered(indexOid: number): number {
    return this.#graphs.get(indexOid)?.index.rowCount ?? 0
  }

  /** Those of the indexes that want a graph, or more of one. */
  due(
    owner: InterimOwner,
    indexes: readonly VectorIndexSchema[],
    bytesMin: number,
  ): readonly VectorIndexSchema[] {
    if (this.#closed) return []
    return indexes.filter((index) => {
      const graph = this.#graphs.get(index.indexOid)
      if (graph !== undefined) return graph.index.rowCount < owner.settledCount
      const column = owner.columnSchema(index.attnum)
      return column?.kind === 'vector' && owner.settledCount * column.width * 4 >= bytesMin
    })
  }

  /** Takes in a turn's rows. @returns true if there is more to do */
  async extend(native: Native, owner: InterimOwner, index: VectorIndexSchema): Promise<boolean> {
    return await this.#turn.run(async () => {
      if (this.#closed) return false
      const graph = this.#graphOf(native, owner, index)
      const before = graph.index.rowCount
      const wanted = Math.min(owner.settledCount, before + rowsPerTurn)
      if (wanted <= before) return false
      owner.prepareColumn(index.attnum)
      await graph.index.extend(owner.native, index.attnum, wanted)
      return !this.#closed && graph.index.rowCount < owner.settledCount
    })
  }

  #graphOf(native: Native, owner: InterimOwner, schema: VectorIndexSchema): Graph {
    const { indexOid, attnum, metric, m, efConstruction } = schema
    const known = this.#graphs.get(indexOid)
    if (known !== undefined) return known
    const dimensions = owner.columnSchema(attnum)?.width ?? 0
    const index = native.createInterim({ dimensions, metric, m, efConstruction })
    const graph = { schema, index }
    this.#graphs.set(indexOid, graph)
    owner.native.setInterim(attnum, indexOid, index)
    return graph
  }

  /** Forgets those of indexes that are gone. */
  keepOnly(owner: InterimOwner, indexes: readonly VectorIndexSchema[]): void {
    for (const [indexOid, { schema, index }] of this.#graphs) {
      if (indexes.some((candidate) => candidate.indexOid === indexOid)) continue
      this.#graphs.delete(indexOid)
      owner.native.setInterim(schema.attnum, indexOid, undefined)
      index.close()
    }
  }

  /**
   * The graphs as indexes over all rows of a segment that gets no more: those that have most of the rows already (the others
   * are built faster from the sealed segment, on more threads).
   */
  async finish(owner: InterimOwner): Promise<readonly FinishedGraph[]> {
    return await this.#turn.run(async () => {
      const finished: FinishedGraph[] = []
      try {
        for (const { schema, index } of this.#graphs.values()) {
          if (this.#closed || index.rowCount * 2 < owner.rowCount) continue
          owner.prepareColumn(schema.attnum)
          await index.extend(owner.native, schema.attnum, owner.rowCount)
          if (this.#closed) continue
          finished.push({ schema, index: await index.copy() })
        }
        return finished
      } catch (error) {
        for (const { index } of finished) index.close()
        throw error
      }
    })
  }

  close(): void {
    this.#closed = true
    for (const { index } of this.#graphs.values()) index.close()
    this.#graphs.clear()
  }
}

/**
 * Rows picked out of several inputs, in order, as runs of neighbours: what a new segment will consist of. A run is rows
 * from..to-1 of one input; the runs are in ascending row id order.
 */
import { invariant } from '#base/errors.js'

export interface RowRuns {
  readonly runCount: number
  readonly rowCount: number
  /** Per run: position of its input, first row, row after the last. */
  readonly inputs: Uint32Array
  readonly from: Uint32Array
  readonly to: Uint32Array
}

/** All rows of one input. */
export function wholeRun(rowCount: number): RowRuns {
  return {
    runCount: rowCount === 0 ? 0 : 1,
    rowCount,
    inputs: Uint32Array.of(0),
    from: Uint32Array.of(0),
    to: Uint32Array.of(rowCount),
  }
}

export interface MergeInput {
  /** Ascending, exact. */
  readonly rowIds: Float64Array
  /** Ascending; these rows are left out. Others in it are ignored. */
  readonly droppedRowIds: Float64Array
}

/**
 * Merges inputs with disjoint row ids into one ascending order without the dropped rows.
 * @throws InvariantError SEG-2 when a row id occurs twice
 */
export function mergeRuns(inputs: readonly MergeInput[]): RowRuns {
  const cursors = inputs.map(() => 0)
  const dropCursors = inputs.map(() => 0)
  const runs = new RunList()
  for (;;) {
    const [first, bound] = nextInput(inputs, cursors)
    if (first < 0) return runs.finish()
    const input = inputs[first]
    if (input === undefined) return runs.finish()
    const { rowIds, droppedRowIds } = input
    let row = cursors[first] ?? 0
    let drop = dropCursors[first] ?? 0
    // All rows of this input below every other input's next row id.
    for (; row < rowIds.length; row += 1) {
      const rowId = rowIds[row] ?? 0
      if (rowId >= bound) break
      while (drop < droppedRowIds.length && (droppedRowIds[drop] ?? 0) < rowId) drop += 1
      if (droppedRowIds[drop] !== rowId) runs.append(first, row)
    }
    invariant('SEG-2', row > (cursors[first] ?? 0), 'a row id lies in two segments')
    cursors[first] = row
    dropCursors[first] = drop
  }
}

/** The input with the lowest next row id, and the lowest next row id of the others. */
function nextInput(inputs: readonly MergeInput[], cursors: readonly number[]): [number, number] {
  let first = -1
  let lowest = Number.POSITIVE_INFINITY
  let bound = Number.POSITIVE_INFINITY
  inputs.forEach(({ rowIds }, position) => {
    const cursor = cursors[position] ?? 0
    if (cursor >= rowIds.length) return
    const next = rowIds[cursor] ?? 0
    if (first < 0 || next < lowest) {
      bound = first < 0 ? bound : lowest
      lowest = next
      first = position
    } else if (next < bound) bound = next
  })
  return [first, bound]
}

class RunList {
  #inputs = new Uint32Array(64)
  #from = new Uint32Array(64)
  #to = new Uint32Array(64)
  #runCount = 0
  #rowCount = 0

  append(input: number, row: number): void {
    const last = this.#runCount - 1
    this.#rowCount += 1
    if (last >= 0 && this.#inputs[last] === input && this.#to[last] === row) {
      this.#to[last] = row + 1
      return
    }
    if (this.#runCount === this.#inputs.length) this.#grow()
    this.#inputs[this.#runCount] = input
    this.#from[this.#runCount] = row
    this.#to[this.#runCount] = row + 1
    this.#runCount += 1
  }

  #grow(): void {
    const larger = (old: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> => {
      const grown = new Uint32Array(old.length * 2)
      grown.set(old)
      return grown
    }
    this.#inputs = larger(this.#inputs)
    this.#from = larger(this.#from)
    this.#to = larger(this.#to)
  }

  finish(): RowRuns {
    return {
      runCount: this.#runCount,
      rowCount: this.#rowCount,
      inputs: this.#inputs,
      from: this.#from,
      to: this.#to,
    }
  }
}

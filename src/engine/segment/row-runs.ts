/**
 * Rows picked out of several inputs, in order, as runs of neighbours: what a new segment will consist of. A run is rows
 * from..to-1 of one input; the runs are in ascending row id order.
 */
import { invariant } from '#base/errors.js'
import { lowerBound } from '#engine/segment/lower-bound.js'

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
  const runs = new RunList()
  for (;;) {
    const [first, bound] = nextInput(inputs, cursors)
    if (first < 0) return runs.finish()
    const input = inputs[first]
    if (input === undefined) return runs.finish()
    const { rowIds, droppedRowIds } = input
    // All rows of this input below every other input's next row id, in stretches between dropped ones.
    const start = cursors[first] ?? 0
    const end = lowerBound(rowIds, bound, start)
    invariant('SEG-2', end > start, 'a row id lies in two segments')
    let row = start
    let drop = lowerBound(droppedRowIds, rowIds[row] ?? 0)
    while (row < end) {
      const dropped = droppedRowIds[drop] ?? Number.POSITIVE_INFINITY
      const stop = lowerBound(rowIds, dropped, row, end)
      runs.append(first, row, stop)
      row = stop < end && rowIds[stop] === dropped ? stop + 1 : stop
      drop += 1
    }
    cursors[first] = end
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

  append(input: number, from: number, to: number): void {
    if (from === to) return
    const last = this.#runCount - 1
    this.#rowCount += to - from
    if (last >= 0 && this.#inputs[last] === input && this.#to[last] === from) {
      this.#to[last] = to
      return
    }
    if (this.#runCount === this.#inputs.length) this.#grow()
    this.#inputs[this.#runCount] = input
    this.#from[this.#runCount] = from
    this.#to[this.#runCount] = to
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

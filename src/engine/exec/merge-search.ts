/** TOPK-1: the k nearest of several parts are the k nearest of one segment that holds all their rows. */
import { invariant } from '#base/errors.js'
import { sliceBatch } from '#engine/columnar/batch.js'
import { gatherParts, type PickedRow } from '#engine/exec/gather-parts.js'
import type { SearchPart } from '#engine/plan/fragment.js'

/** @returns nearest first, ties in row id order; at most k. Parts without hits may have batches without columns. */
export function reduceSearch(parts: readonly SearchPart[], k: number): SearchPart {
  const segments = parts.flatMap((part) => part.segments)
  const filled = parts.filter(({ rowIds }) => rowIds.length > 0)
  const [first, second] = filled
  if (first === undefined) {
    const [any] = parts
    invariant('TOPK-1', any !== undefined, 'no part to reduce')
    return { ...any, segments }
  }
  if (second === undefined) return firstHits(first, k, segments)
  const hits: (PickedRow & { readonly distance: number; readonly rowId: number })[] = []
  for (const { distances, rowIds, batch } of filled) {
    for (let row = 0; row < rowIds.length; row += 1) {
      hits.push({ batch, row, distance: distances[row] ?? 0, rowId: rowIds[row] ?? 0 })
    }
  }
  hits.sort((a, b) => compareDistances(a.distance, b.distance) || a.rowId - b.rowId)
  const nearest = hits.slice(0, k)
  return {
    distances: Float64Array.from(nearest, ({ distance }) => distance),
    rowIds: Float64Array.from(nearest, ({ rowId }) => rowId),
    batch: gatherParts(nearest, first.batch),
    segments,
  }
}

function firstHits(part: SearchPart, k: number, segments: SearchPart['segments']): SearchPart {
  const count = Math.min(k, part.rowIds.length)
  return {
    distances: part.distances.subarray(0, count),
    rowIds: part.rowIds.subarray(0, count),
    batch: sliceBatch(part.batch, 0, count),
    segments,
  }
}

/** Infinity equals Infinity; there is no NaN among hits. */
function compareDistances(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

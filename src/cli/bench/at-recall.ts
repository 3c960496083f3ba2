/** Two servers compared at equal recall: what each does at exactly that recall, between the points measured. */
import type { SearchFigures } from '#cli/bench/figures.js'

export interface AtRecall {
  readonly queriesPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/**
 * Linear between the logarithms of the two neighbouring points. When even the fastest point is better than asked,
 * that point; when no point reaches the recall, undefined.
 * @param points of one target, condition and number of connections
 */
export function atRecall(points: readonly SearchFigures[], recall: number): AtRecall | undefined {
  const sorted = [...points].sort((a, b) => a.recall - b.recall)
  const above = sorted.findIndex((point) => point.recall >= recall)
  const high = sorted[above]
  if (high === undefined) return undefined
  const low = sorted[above - 1]
  if (low === undefined) return high
  const share = (recall - low.recall) / (high.recall - low.recall)
  const between = (a: number, b: number) =>
    Math.exp(Math.log(a) + share * (Math.log(b) - Math.log(a)))
  return {
    queriesPerSecond: between(low.queriesPerSecond, high.queriesPerSecond),
    p50Ms: between(low.p50Ms, high.p50Ms),
    p99Ms: between(low.p99Ms, high.p99Ms),
  }
}

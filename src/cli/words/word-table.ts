/**
 * The table of the demo and the benchmark: one row per word, a thousand words kept aside as queries.
 * Everything is derived from the words and fixed seeds, so that each run, on each server, sees the same rows.
 */
import { type WordVectors, wordDimensions } from '#cli/words/fetch-words.js'
import { shuffledIndexes } from '#cli/words/random.js'

export const queryWordCount = 1000
const querySeed = 42
const categorySeed = 7

/** Categories of known size, spread over the words at random: `category = 'one in 100'` keeps 1 % of the rows. */
export const categories = [
  { name: 'one in 10000', share: 0.0001 },
  { name: 'one in 1000', share: 0.001 },
  { name: 'one in 100', share: 0.01 },
  { name: 'one in 10', share: 0.1 },
  { name: 'one in 2', share: 0.5 },
] as const
const restCategory = 'other'

export interface WordTable {
  readonly rowCount: number
  readonly dimensions: number
  /** Row i has id i + 1. */
  readonly words: readonly string[]
  readonly categoryOf: readonly string[]
  /** 1 = the most frequent word of the language. */
  readonly rankOf: Uint32Array
  /** rowCount × dimensions, row-major. */
  readonly vectors: Float32Array
  /** queryCount × dimensions; none of them is a row. */
  readonly queries: Float32Array
  readonly queryCount: number
}

/** @param rowCountMax for a quick try: only so many rows */
export function makeWordTable(
  source: WordVectors,
  rowCountMax = Number.POSITIVE_INFINITY,
): WordTable {
  const order = shuffledIndexes(source.words.length, querySeed)
  const asQuery = new Set(order.subarray(0, queryWordCount))
  const kept = [...source.words.keys()].filter((i) => !asQuery.has(i)).slice(0, rowCountMax)
  return {
    rowCount: kept.length,
    dimensions: wordDimensions,
    words: kept.map((i) => source.words[i] ?? ''),
    categoryOf: assignCategories(kept.length),
    rankOf: Uint32Array.from(kept, (i) => i + 1),
    vectors: gather(source.vectors, kept),
    queries: gather(source.vectors, [...order.subarray(0, queryWordCount)]),
    queryCount: queryWordCount,
  }
}

function gather(vectors: Float32Array, rows: readonly number[]): Float32Array {
  const gathered = new Float32Array(rows.length * wordDimensions)
  rows.forEach((row, i) => {
    gathered.set(
      vectors.subarray(row * wordDimensions, (row + 1) * wordDimensions),
      i * wordDimensions,
    )
  })
  return gathered
}

/** Exact shares: the first so many rows of a shuffled order. */
function assignCategories(rowCount: number): readonly string[] {
  const assigned = new Array<string>(rowCount).fill(restCategory)
  const order = shuffledIndexes(rowCount, categorySeed)
  let next = 0
  for (const { name, share } of categories) {
    const end = next + Math.max(1, Math.round(share * rowCount))
    for (const row of order.subarray(next, end)) assigned[row] = name
    next = end
  }
  return assigned
}

/** pgvector's text form. */
export function vectorText(vectors: Float32Array, row: number, dimensions: number): string {
  return `[${vectors.subarray(row * dimensions, (row + 1) * dimensions).join(',')}]`
}

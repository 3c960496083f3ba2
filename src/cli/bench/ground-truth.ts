/**
 * The right answers, computed here by a plain loop over all rows: no server judges itself or another.
 * Kept in .cache/words, as they depend on nothing but the words.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Condition } from '#cli/bench/figures.js'
import { cacheFolder } from '#cli/cache-folder.js'
import { ProgressBar } from '#cli/print.js'
import type { WordTable } from '#cli/words/word-table.js'

/** Ids (row + 1) of the k rows nearest by cosine among those that the condition keeps, per query, nearest first. */
export async function groundTruth(
  table: WordTable,
  condition: Condition,
  queryCount: number,
  k: number,
): Promise<readonly (readonly number[])[]> {
  const key = `${table.rowCount}-${queryCount}-${k}-${condition.label.replace(/[^\w.]+/g, '-')}`
  const path = join(cacheFolder, 'words', `truth-${key}.json`)
  if (existsSync(path)) return JSON.parse(await readFile(path, 'utf8')) as number[][]
  const truth = computeTruth(table, condition, queryCount, k)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, JSON.stringify(truth))
  return truth
}

/** Exported for the test. */
export function computeTruth(
  table: WordTable,
  condition: Condition,
  queryCount: number,
  k: number,
): readonly (readonly number[])[] {
  const unit = normalized(table.vectors, table.dimensions)
  const rows = Uint32Array.from(
    Array.from({ length: table.rowCount }, (_, row) => row).filter(condition.keeps),
  )
  const bar = new ProgressBar(`answers, ${condition.label}`, queryCount, 'queries')
  const truth: number[][] = []
  for (let q = 0; q < queryCount; q++) {
    const query = table.queries.subarray(q * table.dimensions, (q + 1) * table.dimensions)
    truth.push(nearest(unit, rows, query, k))
    bar.update(q + 1)
  }
  bar.finish()
  return truth
}

/** The query needs no normalising: its length changes no order. */
function nearest(unit: Float32Array, rows: Uint32Array, query: Float32Array, k: number): number[] {
  const dimensions = query.length
  const best: { readonly row: number; readonly similarity: number }[] = []
  let worst = Number.NEGATIVE_INFINITY
  for (const row of rows) {
    let similarity = 0
    for (let i = 0, at = row * dimensions; i < dimensions; i++, at++) {
      similarity += (unit[at] as number) * (query[i] as number)
    }
    if (best.length === k && similarity <= worst) continue
    let place = best.length
    while (place > 0 && (best[place - 1]?.similarity ?? 0) < similarity) place -= 1
    best.splice(place, 0, { row, similarity })
    if (best.length > k) best.pop()
    worst = best[best.length - 1]?.similarity ?? worst
  }
  return best.map(({ row }) => row + 1)
}

function normalized(vectors: Float32Array, dimensions: number): Float32Array {
  const unit = new Float32Array(vectors.length)
  for (let start = 0; start < vectors.length; start += dimensions) {
    let sum = 0
    for (let i = start; i < start + dimensions; i++) sum += (vectors[i] ?? 0) ** 2
    const scale = sum === 0 ? 0 : 1 / Math.sqrt(sum)
    for (let i = start; i < start + dimensions; i++) unit[i] = (vectors[i] ?? 0) * scale
  }
  return unit
}

/**
 * Recall in SQL: the same statement once with `SET enable_indexscan = off` (exact) and then through the index at
 * several `hnsw.ef_search`, for words that are not in the table; without a condition and with five that keep ever fewer rows.
 */
import { performance } from 'node:perf_hooks'
import type { Client } from 'pg'
import { formatTable, ProgressBar, print } from '#cli/print.js'
import { fewestRows, nearestIds, nearestSql, recallOf } from '#cli/words/nearest.js'
import { categories, vectorText, type WordTable } from '#cli/words/word-table.js'

const k = 10
const searchWidths = [40, 100, 200, 400]
const filteredWidths = [40, 200]

export async function measureRecall(
  client: Client,
  table: string,
  words: WordTable,
  queryCount: number,
): Promise<void> {
  const queries = Array.from({ length: Math.min(queryCount, words.queryCount) }, (_, i) =>
    vectorText(words.queries, i, words.dimensions),
  )
  print(
    `\nRecall@${k} of ${queries.length} words that are not in the table, index against exact scan:`,
  )
  // Where conditions leave too few rows of a first search, pgvector goes on only when told to.
  await client.query('SET hnsw.iterative_scan = relaxed_order')
  const rows: string[][] = []
  await measure(client, nearestSql(table, '', k), 'no condition', searchWidths, queries, rows)
  for (const { name, share } of [...categories].reverse()) {
    const sql = nearestSql(table, `category = '${name}'`, k)
    await measure(
      client,
      sql,
      `keeps ${Number((share * 100).toPrecision(2))} %`,
      filteredWidths,
      queries,
      rows,
    )
  }
  print()
  print(
    formatTable(
      ['condition', 'ef_search', `recall@${k}`, 'fewest rows', 'queries/s', 'exact, queries/s'],
      rows,
    ),
  )
}

async function measure(
  client: Client,
  sql: string,
  label: string,
  widths: readonly number[],
  queries: readonly string[],
  rows: string[][],
): Promise<void> {
  const bar = new ProgressBar(`exact, ${label}`, queries.length, 'queries')
  const name = `nearest ${label}`
  await client.query('SET enable_indexscan = off')
  const exactStartedMs = performance.now()
  const exact = await nearestIds(client, { sql, name: `exact ${label}` }, queries, (done) =>
    bar.update(done),
  )
  const exactRate = (queries.length * 1000) / (performance.now() - exactStartedMs)
  bar.finish()
  await client.query('RESET enable_indexscan')
  for (const width of widths) {
    await client.query(`SET hnsw.ef_search = ${width}`)
    const startedMs = performance.now()
    const found = await nearestIds(client, { sql, name }, queries)
    const rate = (queries.length * 1000) / (performance.now() - startedMs)
    const recall = recallOf(found, exact).toFixed(4)
    rows.push([
      label,
      String(width),
      recall,
      String(fewestRows(found)),
      rate.toFixed(0),
      exactRate.toFixed(0),
    ])
  }
}

/** Nearest words as a person would ask for them: the statement, then what it returns. */
import { performance } from 'node:perf_hooks'
import type { Client } from 'pg'
import { formatTable, print } from '#cli/print.js'

interface Search {
  readonly word: string
  readonly condition: string
}

const searches: readonly Search[] = [
  { word: 'king', condition: '' },
  { word: 'coffee', condition: '' },
  { word: 'postgres', condition: '' },
  { word: 'king', condition: 'rank <= 5000' },
  { word: 'coffee', condition: "category = 'one in 10'" },
  { word: 'coffee', condition: "category = 'one in 100' AND rank > 1000" },
  { word: 'guitar', condition: "word LIKE 's%'" },
  { word: 'guitar', condition: "category = 'one in 10000'" },
]
const limit = 8

export async function showSearches(client: Client, table: string): Promise<void> {
  print('\nNearest words (cosine distance):')
  for (const search of searches) await show(client, table, search)
}

async function show(client: Client, table: string, { word, condition }: Search): Promise<void> {
  const found = await client.query<{ embedding: string }>(
    `SELECT embedding::text AS embedding FROM ${table} WHERE word = $1`,
    [word],
  )
  const [row] = found.rows
  if (row === undefined) return
  const where = [`word <> '${word}'`, ...(condition === '' ? [] : [condition])].join(' AND ')
  const sql = (vector: string) =>
    `SELECT word, category, rank, round((embedding <=> ${vector})::numeric, 3) AS distance\n` +
    `FROM ${table} WHERE ${where}\nORDER BY embedding <=> ${vector} LIMIT ${limit}`
  print(`\n${sql(`«${word}»`)};`)
  const startedMs = performance.now()
  const { rows } = await client.query<string[]>({
    text: sql('$1'),
    values: [row.embedding],
    rowMode: 'array',
  })
  const elapsedMs = performance.now() - startedMs
  const heads = ['word', 'category', 'rank', 'distance']
  print(
    formatTable(
      heads,
      rows.map((cells) => cells.map(String)),
    ),
  )
  print(`  ${rows.length} rows, ${elapsedMs.toFixed(1)} ms`)
}

/** Loads the word table into one server and measures it: COPY binary, COPY text, index build. */
import { Client } from 'pg'
import { type LoadFigures, median, type Target } from '#cli/bench/figures.js'
import type { BenchOptions } from '#cli/bench/options.js'
import { ProgressBar, print } from '#cli/print.js'
import { encodeCopyBinary, encodeCopyText } from '#cli/words/encode-copy.js'
import { copyRows, createIndex, createTableSql } from '#cli/words/load-words.js'
import type { WordTable } from '#cli/words/word-table.js'

export const benchTable = 'bench_words'
const copyTable = 'bench_words_copy'
const copyRepeats = 3

/** COPY data made beforehand, so that only the server and the socket are timed. */
export interface EncodedRows {
  readonly format: 'binary' | 'text'
  readonly blocks: readonly { readonly bytes: Buffer; readonly rowsDone: number }[]
}

export function encodeRows(words: WordTable): readonly EncodedRows[] {
  return [
    { format: 'text', blocks: [...encodeCopyText(words)] },
    { format: 'binary', blocks: [...encodeCopyBinary(words)] },
  ]
}

/** Copies the rows several times in each format, the servers taking turns. @returns rows per second, by target and format */
export async function measureCopies(
  targets: readonly Target[],
  words: WordTable,
  encoded: readonly EncodedRows[],
): Promise<ReadonlyMap<string, Readonly<Record<'binary' | 'text', number>>>> {
  const rates = new Map(
    targets.map(({ name }) => [name, { binary: [] as number[], text: [] as number[] }]),
  )
  for (let repeat = 0; repeat < copyRepeats; repeat++) {
    for (const target of targets) {
      for (const { format, blocks } of encoded) {
        const seconds = await withClient(target, async (client) => {
          await client.query(`DROP TABLE IF EXISTS ${copyTable}`)
          await client.query(createTableSql(copyTable, words.dimensions))
          const bar = new ProgressBar(`${target.name}: COPY ${format}`, words.rowCount, 'rows')
          const elapsed = await copyRows(client, copyTable, format, blocks, (done) =>
            bar.update(done),
          )
          bar.finish()
          await client.query(`DROP TABLE ${copyTable}`)
          return elapsed
        })
        rates.get(target.name)?.[format].push(words.rowCount / seconds)
      }
    }
  }
  return new Map(
    [...rates].map(([name, { binary, text }]) => [
      name,
      { binary: median(binary), text: median(text) },
    ]),
  )
}

/** Makes the table that is searched. @returns seconds of the index build */
export async function loadAndIndex(
  target: Target,
  words: WordTable,
  binary: EncodedRows,
  options: BenchOptions,
): Promise<number> {
  return withClient(target, (client) =>
    withClient(target, async (observer) => {
      await client.query('CREATE EXTENSION IF NOT EXISTS vector')
      await client.query(`DROP TABLE IF EXISTS ${benchTable}`)
      await client.query(createTableSql(benchTable, words.dimensions))
      await copyRows(client, benchTable, 'binary', binary.blocks)
      print(`${target.name}: index with m ${options.m}, ef_construction ${options.efConstruction}`)
      const seconds = await createIndex(client, observer, benchTable, options)
      // What a careful operator does after loading; a server that does not know the word may say so.
      for (const sql of [`VACUUM ANALYZE ${benchTable}`, 'CHECKPOINT'])
        await client.query(sql).catch(() => {})
      return seconds
    }),
  )
}

/** Measures loading on every target. Leaves the indexed table behind. */
export async function measureLoads(
  options: BenchOptions,
  words: WordTable,
): Promise<readonly LoadFigures[]> {
  const encoded = encodeRows(words)
  for (const target of options.targets) {
    await withClient(target, (client) => client.query('CREATE EXTENSION IF NOT EXISTS vector'))
  }
  const rates = await measureCopies(options.targets, words, encoded)
  const binary = encoded.find(({ format }) => format === 'binary')
  if (binary === undefined) throw new Error('no binary rows')
  const figures: LoadFigures[] = []
  for (const target of options.targets) {
    const indexSeconds = await loadAndIndex(target, words, binary, options)
    const rate = rates.get(target.name)
    figures.push({
      target: target.name,
      copyBinaryRowsPerSecond: rate?.binary,
      copyTextRowsPerSecond: rate?.text,
      indexSeconds,
    })
  }
  return figures
}

/** A connection for one piece of work. */
export async function withClient<T>(
  target: Target,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString: target.url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

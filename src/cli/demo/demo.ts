/**
 * `elanus demo`: real word vectors, plain SQL.
 *
 * 1. connect, or start a server of our own
 * 2. fetch the words, create the table, load it with COPY
 * 3. create the index
 * 4. show nearest words, with and without conditions
 * 5. measure recall: the index against an exact scan, both asked in SQL
 */
import { Client } from 'pg'
import { describeFlags, type Flag, flagNumber, flagText, readArguments } from '#cli/arguments.js'
import { measureRecall } from '#cli/demo/measure-recall.js'
import { reachOrStart } from '#cli/demo/reach-or-start.js'
import { showSearches } from '#cli/demo/show-searches.js'
import { ProgressBar, print } from '#cli/print.js'
import { encodeCopyBinary } from '#cli/words/encode-copy.js'
import { fetchWords } from '#cli/words/fetch-words.js'
import { copyRows, createIndex, createIndexSql, createTableSql } from '#cli/words/load-words.js'
import { makeWordTable, type WordTable } from '#cli/words/word-table.js'

const table = 'words'
const indexParameters = { m: 16, efConstruction: 200 }

const flags: Readonly<Record<string, Flag>> = {
  url: {
    placeholder: 'postgres://…',
    meaning: 'any PostgreSQL with pgvector (default: an Elanus on this machine)',
  },
  host: { placeholder: 'ADDRESS', meaning: 'where the server is (127.0.0.1)' },
  port: { placeholder: 'PORT', meaning: "the server's port (5432)" },
  data: { placeholder: 'DIR', meaning: 'data directory, if a server must be started (./data)' },
  rows: { placeholder: 'N', meaning: 'load only so many words' },
  queries: { placeholder: 'N', meaning: 'words to measure recall with (200)' },
  keep: { placeholder: undefined, meaning: 'leave a table that is already loaded as it is' },
  help: { placeholder: undefined, meaning: 'this page' },
}

export async function demo(args: readonly string[]): Promise<void> {
  const given = readArguments(args, flags)
  if (given.flags.has('help')) return print(`elanus demo\n\n${describeFlags(flags)}`)
  const url = flagText(given, 'url')
  const host = flagText(given, 'host') ?? '127.0.0.1'
  const port = flagNumber(given, 'port', 5432)
  const server =
    url === undefined
      ? await reachOrStart(host, port, flagText(given, 'data') ?? './data')
      : { url, psql: `psql '${url}'`, keepRunning: async () => {} }
  const words = makeWordTable(
    await fetchWords(),
    flagNumber(given, 'rows', Number.POSITIVE_INFINITY),
  )
  const client = new Client({ connectionString: server.url })
  const observer = new Client({ connectionString: server.url })
  await client.connect()
  await observer.connect()
  try {
    const loaded = given.flags.has('keep') && (await isLoaded(client, words.rowCount))
    if (!loaded) await load(client, observer, words)
    await showSearches(client, table)
    await measureRecall(client, table, words, flagNumber(given, 'queries', 200))
  } finally {
    await client.end()
    await observer.end()
  }
  print(`\nThe table is there: ${server.psql}`)
  print(
    `  SELECT word FROM ${table} ORDER BY embedding <=> (SELECT embedding FROM ${table} WHERE word = 'kite') LIMIT 10;`,
  )
  await server.keepRunning()
}

async function isLoaded(client: Client, rowCount: number): Promise<boolean> {
  const exists = await client.query(`SELECT to_regclass('${table}') IS NOT NULL AS there`)
  if (exists.rows[0]?.there !== true) return false
  const { rows } = await client.query(`SELECT count(*)::int AS count FROM ${table}`)
  return rows[0]?.count === rowCount
}

async function load(client: Client, observer: Client, words: WordTable): Promise<void> {
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await client.query(`DROP TABLE IF EXISTS ${table}`)
  print(`\n${createTableSql(table, words.dimensions)};\n`)
  await client.query(createTableSql(table, words.dimensions))
  print(`COPY ${table} FROM STDIN (FORMAT binary);`)
  const bar = new ProgressBar('loading', words.rowCount, 'rows')
  await copyRows(client, table, 'binary', encodeCopyBinary(words), (done) => bar.update(done))
  bar.finish()
  print(`\n${createIndexSql(table, indexParameters)};`)
  await createIndex(client, observer, table, indexParameters)
}

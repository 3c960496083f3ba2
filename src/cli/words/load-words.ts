/** The statements that make, fill and index the word table on any PostgreSQL with pgvector. */
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { finished } from 'node:stream/promises'
import type { Client } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { ProgressBar } from '#cli/print.js'

export interface IndexParameters {
  readonly m: number
  readonly efConstruction: number
}

export function createTableSql(table: string, dimensions: number): string {
  return `CREATE TABLE ${table} (
  id integer PRIMARY KEY,
  word text NOT NULL,
  category text NOT NULL,
  rank integer NOT NULL,
  embedding vector(${dimensions}) NOT NULL
)`
}

export function createIndexSql(table: string, { m, efConstruction }: IndexParameters): string {
  return (
    `CREATE INDEX ${table}_embedding_idx ON ${table} USING hnsw (embedding vector_cosine_ops) ` +
    `WITH (m = ${m}, ef_construction = ${efConstruction})`
  )
}

/** Sends COPY data as fast as the server takes it. @returns seconds until the server confirmed */
export async function copyRows(
  client: Client,
  table: string,
  format: 'binary' | 'text',
  blocks: Iterable<{ readonly bytes: Buffer; readonly rowsDone: number }>,
  onRows?: (rowsDone: number) => void,
): Promise<number> {
  const startedMs = performance.now()
  const stream = client.query(copyFrom(`COPY ${table} FROM STDIN (FORMAT ${format})`))
  const done = finished(stream)
  // Heard here, so that a refusal while we wait for 'drain' is not an unhandled rejection.
  const failed = done.then(
    () => undefined,
    (error: unknown) => error,
  )
  for (const { bytes, rowsDone } of blocks) {
    if (!stream.write(bytes)) await Promise.race([once(stream, 'drain'), failed])
    if (stream.destroyed) break
    onRows?.(rowsDone)
  }
  stream.end()
  await done
  return (performance.now() - startedMs) / 1000
}

const pollIntervalMs = 250

/** Creates the index while another connection follows pg_stat_progress_create_index. @returns seconds */
export async function createIndex(
  client: Client,
  observer: Client,
  table: string,
  parameters: IndexParameters,
): Promise<number> {
  const bar = new ProgressBar('building the index', 1, '')
  const creating = client.query(createIndexSql(table, parameters))
  let running = true
  const settled = creating.then(
    () => undefined,
    () => undefined,
  )
  void settled.then(() => {
    running = false
  })
  while (running) {
    const progress = await readProgress(observer)
    if (progress === undefined) bar.update(0, 1, 'building')
    else bar.update(progress.done, progress.total, progress.note)
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, pollIntervalMs))])
  }
  await creating
  return bar.finish()
}

async function readProgress(
  observer: Client,
): Promise<{ readonly done: number; readonly total: number; readonly note: string } | undefined> {
  const { rows } = await observer.query<{
    phase: string
    blocks_done: string
    blocks_total: string
    tuples_done: string
    tuples_total: string
  }>(
    'SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total FROM pg_stat_progress_create_index LIMIT 1',
  )
  const [row] = rows
  if (row === undefined) return undefined
  const byTuples = Number(row.tuples_total) > 0
  const done = Number(byTuples ? row.tuples_done : row.blocks_done)
  const total = Number(byTuples ? row.tuples_total : row.blocks_total)
  return { done, total: Math.max(1, total), note: row.phase }
}

/** Statements on several connections for so long, and how long each took. */
import type pg from 'pg'
import { makeVectors } from '../streaming/vectors.js'
import { connectTo } from './cluster.js'

export interface Figures {
  readonly count: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export type Statement = (client: pg.Client, number: number) => Promise<void>

/** @param clients each runs one statement after the other */
export async function runFor(
  clients: readonly pg.Client[],
  seconds: number,
  statement: Statement,
): Promise<Figures> {
  const latencies: number[] = []
  const begunMs = performance.now()
  let number = 0
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - begunMs < seconds * 1000) {
        const startedMs = performance.now()
        await statement(client, number++)
        latencies.push(performance.now() - startedMs)
      }
    }),
  )
  const elapsed = (performance.now() - begunMs) / 1000
  return figuresOf(latencies, elapsed)
}

export function figuresOf(latencies: readonly number[], seconds: number): Figures {
  const sorted = [...latencies].sort((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? 0
  return {
    count: sorted.length,
    perSecond: sorted.length / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  }
}

export async function connectAll(urls: readonly string[], each: number): Promise<pg.Client[]> {
  return await Promise.all(
    urls.flatMap((url) => Array.from({ length: each }, () => connectTo(url))),
  )
}

const distinctCount = 2000
const queryCount = 200
const rowsPerInsert = 50

/** Statements over the table `docs` of rows (id, tenant, e). */
export class Docs {
  readonly dimensions: number
  readonly #rows
  readonly #queries
  /** Ids are given once, also to several writers. */
  #nextId = 0

  constructor(dimensions: number) {
    this.dimensions = dimensions
    this.#rows = makeVectors(distinctCount, dimensions, 1)
    this.#queries = makeVectors(queryCount, dimensions, 2)
  }

  get rowCount(): number {
    return this.#nextId
  }

  async create(client: pg.Client, withOptions: string): Promise<void> {
    await client.query('CREATE EXTENSION IF NOT EXISTS vector')
    await client.query(
      `CREATE TABLE docs (id bigint PRIMARY KEY, tenant int NOT NULL, e vector(${this.dimensions})) ${withOptions}`,
    )
    await client.query('CREATE INDEX docs_e ON docs USING hnsw (e vector_l2_ops)')
  }

  readonly insertMany: Statement = async (client) => {
    const values: string[] = []
    for (let i = 0; i < rowsPerInsert; i += 1) values.push(this.#row())
    await client.query(`INSERT INTO docs VALUES ${values.join()}`)
  }

  readonly insertOne: Statement = async (client) => {
    await client.query(`INSERT INTO docs VALUES ${this.#row()}`)
  }

  /** Two rows, most often of two shards. */
  readonly insertTwo: Statement = async (client) => {
    await client.query(`INSERT INTO docs VALUES ${this.#row()}, ${this.#row()}`)
  }

  readonly lookUp: Statement = async (client, number) => {
    const id = (number * 7919) % this.#nextId
    const text = 'SELECT tenant FROM docs WHERE id = $1'
    await client.query({ name: 'look up', text, values: [id] })
  }

  readonly search: Statement = async (client, number) => {
    await client.query({
      name: 'search',
      text: 'SELECT id FROM docs ORDER BY e <-> $1 LIMIT 10',
      values: [this.#queries.text(number % queryCount)],
    })
  }

  /** No two rows are equal: the first number is the row's own. */
  #row(): string {
    const id = this.#nextId++
    const own = (((id * 7919) % 10_000) / 1e4 - 0.5).toFixed(4)
    return `(${id}, ${id % 100}, '${this.#rows.text(id).replace(/^\[[^,]*/, `[${own}`)}')`
  }
}

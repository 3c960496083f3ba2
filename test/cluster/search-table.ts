/**
 * A table of vectors whose answers are known whatever is updated meanwhile: ids and vectors stay, versions rise. So the total, the
 * set of ids and the nearest neighbours are the same in every snapshot, and the sum of versions tells of lost updates.
 */
import pg from 'pg'
import type { Random } from '../differential/random.js'
import { copyRows, vectorOf } from '../upkeep/load.js'
import { WrongAnswer } from './probe.js'

export const itemCount = 2000
const dimensions = 16
const k = 10
/** Of ten neighbours that an HNSW search over 2,000 rows with ef_search 200 may miss. */
const missesMax = 2

export async function createItems(client: pg.Client): Promise<void> {
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await client.query(
    `CREATE TABLE items (id int PRIMARY KEY, version int NOT NULL DEFAULT 0, e vector(${dimensions}) NOT NULL) WITH (shards = 2)`,
  )
  await client.query(
    'CREATE INDEX ON items USING hnsw (e vector_l2_ops) WITH (m = 16, ef_construction = 64)',
  )
  await copyRows(client, 'items', 0, itemCount, dimensions)
  await client.query('CHECKPOINT')
}

const vectors = Array.from({ length: itemCount }, (_, id) => vectorOf(id, dimensions))

function nearest(query: readonly number[]): readonly number[] {
  return vectors
    .map((vector, id) => ({
      id,
      distance: vector.reduce((sum, x, i) => sum + (x - (query[i] ?? 0)) ** 2, 0),
    }))
    .sort((a, b) => a.distance - b.distance || a.id - b.id)
    .slice(0, k)
    .map(({ id }) => id)
}

/** @throws WrongAnswer */
export async function searchExactly(client: pg.Client, random: Random): Promise<void> {
  const found = await search(client, 'off', random)
  if (String(found.ids) !== String(found.expected)) {
    throw new WrongAnswer(`exact search found ${found.ids}, not ${found.expected}`)
  }
}

/** @throws WrongAnswer */
export async function searchByIndex(client: pg.Client, random: Random): Promise<void> {
  const { ids, expected } = await search(client, 'on', random)
  const hits = ids.filter((id) => expected.includes(id)).length
  if (ids.length !== k || new Set(ids).size !== k || hits < k - missesMax) {
    throw new WrongAnswer(`search found ${ids}, expected ${expected}`)
  }
}

async function search(client: pg.Client, indexscan: 'on' | 'off', random: Random) {
  const near = vectors[random.integer(0, itemCount - 1)] ?? []
  const query = near.map((x) => Math.round((x + random.integer(-50, 50) / 1000) * 1e4) / 1e4)
  await client.query(`SET enable_indexscan = ${indexscan}`)
  await client.query('SET hnsw.ef_search = 200')
  const { rows } = await client.query<{ id: number }>(
    `SELECT id FROM items ORDER BY e <-> $1, id LIMIT ${k}`,
    [`[${query.join()}]`],
  )
  return { ids: rows.map(({ id }) => id), expected: nearest(query) }
}

/** Count, sum and set of ids. @throws WrongAnswer */
export async function checkTotal(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ n: string; sum: string }>(
    'SELECT count(*) AS n, sum(id) AS sum FROM items',
  )
  const [first] = rows
  const sum = (itemCount * (itemCount - 1)) / 2
  if (Number(first?.n) !== itemCount || Number(first?.sum) !== sum) {
    throw new WrongAnswer(`a total of ${first?.n} rows with ids that add up to ${first?.sum}`)
  }
}

/** @throws WrongAnswer */
export async function checkIds(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ id: number }>('SELECT id FROM items')
  const ids = new Set(rows.map(({ id }) => id))
  if (rows.length !== itemCount || ids.size !== itemCount) {
    throw new WrongAnswer(`${rows.length} rows with ${ids.size} different ids`)
  }
}

/** Increments of versions; what was acknowledged is counted, what nobody knows, too. */
export class Increments {
  #acknowledged = 0
  #unknown = 0

  /** Rows of both shards: a transaction over both log channels. @param own of each `of` writers, the rows of this one */
  async increment(client: pg.Client, random: Random, own: number, of: number): Promise<void> {
    const pick = () => random.integer(0, itemCount / of - 1) * of + own
    const ids = new Set(Array.from({ length: 6 }, pick))
    try {
      const { rowCount } = await client.query(
        'UPDATE items SET version = version + 1 WHERE id = ANY($1::int[])',
        [[...ids]],
      )
      if (rowCount !== ids.size) {
        throw new WrongAnswer(`UPDATE of ${ids.size} rows changed ${rowCount}`)
      }
      this.#acknowledged += ids.size
    } catch (error) {
      if (!isRefusal(error)) this.#unknown += ids.size
      throw error
    }
  }

  /** When nobody writes. @throws WrongAnswer */
  async check(client: pg.Client): Promise<void> {
    const { rows } = await client.query<{ sum: string }>('SELECT sum(version) AS sum FROM items')
    const sum = Number(rows[0]?.sum)
    if (sum < this.#acknowledged || sum > this.#acknowledged + this.#unknown) {
      throw new WrongAnswer(
        `versions add up to ${sum} after ${this.#acknowledged} acknowledged increments and ${this.#unknown} unknown ones`,
      )
    }
    this.#acknowledged = sum
    this.#unknown = 0
  }
}

/** The server has said that it did not do it. */
function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !/^(08|57P)/.test(error.code ?? '')
}

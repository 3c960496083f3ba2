/**
 * A real server whose segments change hands without a pause: rows are inserted, updated and deleted while segments are sealed,
 * flushed, merged, rewritten and indexed anew. Every read is compared with what was acknowledged, every search with an exact
 * one in the same snapshot, and EXPLAIN ANALYZE is asked which of its rows a graph led to: recall is counted of searches that
 * graphs have answered, of growing segments and of sealed ones.
 */
import pg from 'pg'
import { type Random, randomFrom } from '../differential/random.js'
import { startServer, type TestServer } from '../server.js'
import { explainSearch, GraphUse } from './graphs.js'
import { judge, Model, type Row } from './model.js'

export interface HandoffOptions {
  readonly seconds: number
  readonly seed: number
  readonly data: string
  readonly shards: number
  /** At most so long until growing segments have graphs, between the jobs. */
  readonly growMs: number
  readonly onMinute?: (line: string) => void
}

export interface HandoffReport {
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
  readonly scans: number
  readonly lookups: number
  readonly searches: number
  /** Of them, those that graphs answered for the most part; that walked the graph of a growing, a sealed segment. */
  readonly byGraph: number
  readonly growingGraphs: number
  readonly sealedGraphs: number
  /** Part of the rows that lay in segments searched by graph. */
  readonly graphShare: number
  readonly jobs: number
  /** Segments that were there at some moment. */
  readonly segments: number
  /** 72000: VACUUM FULL went past the snapshot. */
  readonly refused: number
  /** Of searches by graph. */
  readonly recall: number
  /** Of the worst so many searches in a row. */
  readonly recallMin: number
}

// A growing segment gets its graph at 6 MiB of vectors, four thousand rows; below some thousand rows, or where most are
// deleted, scanning costs less than walking.
const dimensions = 384
const clusterCount = 100
const rowsPerInsert = 200
const liveMax = 40_000
/** Of both writers, a second: graphs are to keep up on a small machine. */
const insertRate = 500
const writerCount = 2
const searchesPerWindow = 50
const k = 10
/** `grow`: waits until growing segments have been searched by their graphs some times. */
const grow = 'grow'
const growSearches = 10
const jobs = [
  grow,
  'CHECKPOINT',
  'VACUUM docs',
  grow,
  'CHECKPOINT',
  'REINDEX INDEX docs_e',
  'CHECKPOINT',
  grow,
  'VACUUM FULL docs',
]
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** @throws Error with the seed when a row is read twice, not at all, or as it should not be */
export async function runHandoff(options: HandoffOptions): Promise<HandoffReport> {
  const run = new Handoff(options)
  try {
    return await run.run()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new Error(`handoff seed ${options.seed}: ${message}\n${run.serverOutput()}`, {
      cause: error,
    })
  } finally {
    await run.close()
  }
}

class Handoff {
  readonly #options: HandoffOptions
  readonly #random: Random
  readonly #model = new Model()
  readonly #segments = new Set<string>()
  readonly #graphs = new GraphUse()
  readonly #centres: readonly (readonly number[])[]
  readonly #windows: number[] = []
  readonly #counts = {
    inserted: 0,
    updated: 0,
    deleted: 0,
    scans: 0,
    lookups: 0,
    searches: 0,
    jobs: 0,
    refused: 0,
  }
  #found = 0
  #foundBefore = 0
  #server: TestServer | undefined
  #until = 0
  #isOver = false

  constructor(options: HandoffOptions) {
    this.#options = options
    this.#random = randomFrom(options.seed)
    this.#centres = Array.from({ length: clusterCount }, () => this.#numbers(1))
  }

  serverOutput(): string {
    return this.#server?.output().slice(-2000) ?? ''
  }

  async close(): Promise<void> {
    await this.#server?.kill()
  }

  async run(): Promise<HandoffReport> {
    const { data, seconds, shards } = this.#options
    const args = ['--seal-bytes', '32MB', '--retention', '5s']
    this.#server = await startServer({ data, args })
    const setUp = await this.#connect()
    await setUp.query('CREATE EXTENSION vector')
    await setUp.query(
      `CREATE TABLE docs (id int PRIMARY KEY, version int NOT NULL, e vector(${dimensions}) NOT NULL)
       WITH (shards = ${shards})`,
    )
    await setUp.query('CREATE INDEX docs_e ON docs USING hnsw (e vector_l2_ops)')
    this.#until = Date.now() + seconds * 1000
    await this.#together([
      ...Array.from({ length: writerCount }, (_, i) => this.#write(i)),
      this.#repeat((client) => this.#scan(client), 500),
      this.#repeat((client) => this.#lookUp(client), 50),
      this.#repeat((client) => this.#search(client), 2),
      this.#maintain(),
    ])
    await this.#scan(setUp)
    await setUp.end()
    await this.#server.kill()
    this.#server = await startServer({ data, args })
    await this.#scan(await this.#connect())
    return {
      ...this.#counts,
      byGraph: this.#graphs.searches,
      growingGraphs: this.#graphs.growing,
      sealedGraphs: this.#graphs.sealed,
      graphShare: this.#graphs.share,
      segments: this.#segments.size,
      recall: this.#found / (k * this.#graphs.searches),
      recallMin: Math.min(1, ...this.#windows),
    }
  }

  /** The first that fails ends the others. */
  async #together(work: readonly Promise<void>[]): Promise<void> {
    const ended = work.map((one) =>
      one.catch((error: unknown) => {
        this.#isOver = true
        throw error
      }),
    )
    for (const result of await Promise.allSettled(ended))
      if (result.status === 'rejected') throw result.reason
  }

  get #goesOn(): boolean {
    return !this.#isOver && Date.now() < this.#until
  }

  async #connect(): Promise<pg.Client> {
    const { host, port, user, database } = this.#server ?? { host: '' }
    const client = new pg.Client({ host, port, user, database })
    client.on('error', () => {})
    await client.connect()
    return client
  }

  async #repeat(step: (client: pg.Client) => Promise<void>, pauseMs: number): Promise<void> {
    const client = await this.#connect()
    while (this.#goesOn) {
      await step(client).catch(async (error: unknown) => {
        if ((error as { code?: string }).code !== '72000') throw error
        this.#counts.refused += 1
        await client.query('ROLLBACK')
      })
      await pause(pauseMs)
    }
    await client.end()
  }

  async #write(writer: number): Promise<void> {
    const client = await this.#connect()
    const turnMs = (rowsPerInsert * writerCount * 1000) / insertRate
    for (let next = Date.now(); this.#goesOn; next = Math.max(next + turnMs, Date.now())) {
      await pause(next - Date.now())
      await this.#insert(client)
      // Each writer has rows of its own.
      const own = this.#model
        .ids()
        .filter((id) => Math.floor(id / rowsPerInsert) % writerCount === writer)
      if (own.length < rowsPerInsert) continue
      await this.#update(client, own)
      const excess = this.#model.size > liveMax ? 3 : 1
      await this.#delete(client, own, (rowsPerInsert / 3) * excess)
    }
    await client.end()
  }

  async #insert(client: pg.Client): Promise<void> {
    // Blocks of ids are handed to whoever comes: the block's number says whose they are.
    const first = this.#model.nextId
    this.#model.nextId += rowsPerInsert
    const ids = Array.from({ length: rowsPerInsert }, (_, i) => first + i)
    const places = ids.map((_, i) => `($${2 * i + 1}, 1, $${2 * i + 2})`)
    await this.#model.change(new Map(ids.map((id) => [id, 1])), () =>
      client.query(
        `INSERT INTO docs VALUES ${places.join()}`,
        ids.flatMap((id) => [id, this.#vector()]),
      ),
    )
    this.#counts.inserted += ids.length
  }

  async #update(client: pg.Client, own: readonly number[]): Promise<void> {
    const ids = this.#some(own, 10)
    const next = ids.map((id): [number, number] => [id, this.#model.version(id) + 1])
    await this.#model.change(new Map(next), () =>
      client.query('UPDATE docs SET version = version + 1 WHERE id = ANY($1)', [ids]),
    )
    const [one = 0] = ids
    await this.#model.change(new Map([[one, this.#model.version(one) + 1]]), () =>
      client.query('UPDATE docs SET version = version + 1, e = $2 WHERE id = $1', [
        one,
        this.#vector(),
      ]),
    )
    this.#counts.updated += ids.length + 1
  }

  async #delete(client: pg.Client, own: readonly number[], count: number): Promise<void> {
    // Most of them old, as of a table that keeps the last days: segments are emptied one after the other.
    const old = own.slice(0, Math.ceil(own.length / 3))
    const ids = [...new Set([...this.#some(old, count), ...this.#some(own, 3)])]
    await this.#model.change(new Map(ids.map((id) => [id, undefined])), () =>
      client.query('DELETE FROM docs WHERE id = ANY($1)', [ids]),
    )
    this.#counts.deleted += ids.length
  }

  async #scan(client: pg.Client): Promise<void> {
    await this.#judged('a scan', () => client.query<Row>('SELECT id, version FROM docs'))
    this.#counts.scans += 1
  }

  async #lookUp(client: pg.Client): Promise<void> {
    if (this.#model.nextId === 0) return
    const ids = Array.from({ length: 5 }, () => this.#random.integer(0, this.#model.nextId - 1))
    const sql = 'SELECT id, version FROM docs WHERE id = '
    await this.#judged('a look-up', () => client.query<Row>(`${sql}ANY($1)`, [ids]), ids)
    const [id = 0] = ids
    await this.#judged('a look-up', () => client.query<Row>(`${sql}$1`, [id]), [id])
    this.#counts.lookups += 2
  }

  async #judged(
    what: string,
    read: () => Promise<pg.QueryResult<Row>>,
    ids?: readonly number[],
  ): Promise<void> {
    const watch = this.#model.watch()
    try {
      judge(what, (await read()).rows, watch, ids)
    } finally {
      this.#model.release(watch)
    }
  }

  async #search(client: pg.Client): Promise<void> {
    const query = this.#vector()
    const sql = `SELECT id, version, e <-> $1 AS distance FROM docs ORDER BY e <-> $1 LIMIT ${k}`
    const watch = this.#model.watch()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const { rows: found } = await client.query<Row & { distance: number }>(sql, [query])
    const looked = await explainSearch(client, sql, [query])
    await client.query('SET LOCAL enable_indexscan = off')
    const { rows: exact } = await client.query<Row & { distance: number }>(sql, [query])
    await client.query('COMMIT')
    this.#model.release(watch)
    judge('a search', found, watch, [])
    judge('an exact search', exact, watch, [])
    const farthest = exact.at(-1)?.distance ?? 0
    this.#counts.searches += 1
    if (!this.#graphs.note(looked) || exact.length < k) return
    this.#found += found.filter(({ distance }) => distance <= farthest).length
    if (this.#graphs.searches % searchesPerWindow !== 0) return
    this.#windows.push((this.#found - this.#foundBefore) / (k * searchesPerWindow))
    this.#foundBefore = this.#found
  }

  async #maintain(): Promise<void> {
    const client = await this.#connect()
    let minute = Date.now() + 60_000
    while (this.#goesOn) {
      const job = jobs[this.#counts.jobs % jobs.length] ?? 'CHECKPOINT'
      if (job === grow) await this.#untilGraphGrows()
      else await client.query(job)
      this.#counts.jobs += 1
      const { rows } = await client.query<{ segment: string }>(
        'SELECT segment_id::text AS segment FROM elanus.segments',
      )
      for (const { segment } of rows) this.#segments.add(segment)
      if (Date.now() > minute) {
        minute += 60_000
        const { searches: byGraph, growing, sealed, share } = this.#graphs
        const recall = (this.#found / (k * byGraph)).toFixed(4)
        const graphs = { byGraph, growing, sealed, share: share.toFixed(3) }
        const live = this.#model.size
        const line = { ...this.#counts, live, segments: rows.length, ...graphs, recall }
        this.#options.onMinute?.(JSON.stringify(line))
      }
      await pause(100)
    }
    await client.end()
  }

  async #untilGraphGrows(): Promise<void> {
    const enough = this.#graphs.growing + growSearches
    const until = Date.now() + this.#options.growMs
    while (this.#goesOn && this.#graphs.growing < enough && Date.now() < until) await pause(50)
  }

  #numbers(size: number): readonly number[] {
    return Array.from({ length: dimensions }, () => (this.#random.integer(0, 9999) / 1e4) * size)
  }

  /** Around one of the centres, as vectors of texts and pictures lie. */
  #vector(): string {
    const centre = this.#random.pick(this.#centres)
    const numbers = this.#numbers(0.5).map((number, i) => (number + (centre[i] ?? 0)).toFixed(4))
    return `[${numbers.join()}]`
  }

  /** Different ones. */
  #some(ids: readonly number[], count: number): number[] {
    return [...new Set(Array.from({ length: count }, () => this.#random.pick(ids)))]
  }
}

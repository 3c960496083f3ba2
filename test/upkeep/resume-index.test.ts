import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { isServerShared } from '../shared-server.js'
import { connect, copyRows, vectorOf } from './load.js'

const rowCount = 15_000
const dimensions = 64
/** Fewer rows than the smallest full segment has. */
const indexedAtMost = 2000
const args = ['--seal-bytes', '2MB', '--threads', '1']

let server: TestServer
let client: pg.Client
beforeAll(async () => {
  server = await startServer({ args })
  client = await connect(server)
  await client.query('CREATE EXTENSION vector')
  await client.query(`CREATE TABLE docs (id int PRIMARY KEY, e vector(${dimensions}))`)
  await copyRows(client, 'docs', 0, rowCount, dimensions)
  await client.query('CHECKPOINT')
})
afterAll(async () => {
  await client.end()
  await server.stop()
})

interface Build {
  readonly pid: number
  readonly done: number
  readonly total: number
}

async function building(): Promise<Build | undefined> {
  const { rows } = await client.query<Build>(
    `SELECT pid, tuples_done::int AS done, tuples_total::int AS total
     FROM pg_stat_progress_create_index WHERE relid = 'docs'::regclass`,
  )
  return rows[0]
}

async function search(query: readonly number[]): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(
    'SELECT id FROM docs ORDER BY e <-> $1::vector LIMIT 10',
    [`[${query.join()}]`],
  )
  return rows.map(({ id }) => id)
}

function exact(query: readonly number[]): number[] {
  const distances = Array.from({ length: rowCount }, (_, id) => ({
    id,
    distance: vectorOf(id, dimensions).reduce((sum, x, i) => sum + (x - (query[i] ?? 0)) ** 2, 0),
  }))
  return distances
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 10)
    .map(({ id }) => id)
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test.skipIf(isServerShared)(
  'CREATE INDEX cut short by SIGKILL is completed after the restart, without being asked',
  async () => {
    const creator = await connect(server)
    let created = false
    const creating = creator
      .query(
        'CREATE INDEX docs_e ON docs USING hnsw (e vector_l2_ops) WITH (ef_construction = 300)',
      )
      .then(
        () => {
          created = true
        },
        () => {},
      )
    while (((await building())?.done ?? 0) === 0 && !created) await pause(10)
    expect(created).toBe(false)
    await server.kill()
    await creating
    await creator.end().catch(() => {})
    await client.end().catch(() => {})

    server = await startServer({ data: server.data, args })
    client = await connect(server)
    // Evenly spread vectors are hard to find: what is lost must not be blamed on the graphs that are there already.
    await client.query('SET hnsw.ef_search = 400')
    const query = vectorOf(rowCount + 1, dimensions)
    const truth = exact(query)
    const seen: Build[] = []
    let searches = 0
    for (;;) {
      const before = await building()
      const found = await search(query)
      const after = await building()
      if (after === undefined) break
      if (before !== undefined) seen.push(before)
      searches += 1
      const right = found.filter((id) => truth.includes(id)).length
      expect(right).toBeGreaterThanOrEqual(9)
      // No segment has the index: all are searched exactly.
      if (after.done < indexedAtMost) expect(found).toEqual(truth)
      await pause(50)
    }
    expect(searches).toBeGreaterThan(0)
    for (const { pid, total } of seen) expect({ pid, total }).toEqual({ pid: 0, total: rowCount })
    const done = seen.map((build) => build.done)
    expect(done).toEqual([...done].sort((a, b) => a - b))
    const { rows } = await client.query(
      `SELECT DISTINCT stage FROM elanus.segments WHERE "table" = 'docs'::regclass`,
    )
    expect(rows).toEqual([{ stage: 'indexed' }])
    // Found through the index, now.
    const { rows: sizes } = await client.query<{ bytes: number }>(
      `SELECT pg_relation_size('docs_e')::int AS bytes`,
    )
    expect(sizes[0]?.bytes).toBeGreaterThan(rowCount * 4)
  },
)

/**
 * Every node of a cluster, one after the other, is stopped with SIGTERM and started again, while clients search and write. A client
 * whose statement fails makes a new connection, to the next proxy, and tries once more; what fails then is a failure.
 *
 * Told are failures, retries, the longest statement and the longest time in which nobody of a kind had an answer, by node; at
 * the end every acknowledged row is looked for.
 */
import pg from 'pg'

const table = 'rolling'
const dimensions = 16
const settleMs = 1500

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** @param cluster {nodes, pgPorts, stop(node) → {ms, wasKilled}, start(node)} */
export async function rollingRestart(cluster, { rounds, writers, searchers }) {
  const load = await startLoad(cluster.pgPorts, { writers, searchers })
  const lines = []
  try {
    await sleep(settleMs)
    for (let round = 0; round < rounds; round += 1) {
      for (const node of cluster.nodes) {
        load.begin()
        const { ms, wasKilled } = await cluster.stop(node)
        const startedMs = performance.now()
        await cluster.start(node)
        const startMs = performance.now() - startedMs
        await sleep(settleMs)
        const seen = load.end()
        const line = { node: node.name, 'stop s': s(ms), 'start s': s(startMs), ...seen }
        if (wasKilled) line.failures += 1
        lines.push({ ...line, killed: wasKilled ? 'yes' : '' })
        console.log(JSON.stringify(line))
      }
    }
  } finally {
    await load.stop()
  }
  console.table(lines)
  const lost = await load.verify()
  const failures = load.failures
  for (const failure of failures.slice(0, 10)) console.log(`failed: ${failure}`)
  console.log(
    `${load.counts.write} writes and ${load.counts.search} searches, ${load.retries} tried again, ` +
      `${failures.length} failures after one retry, ${lost} acknowledged rows lost; longest gap ${s(load.longestGapMs)} s`,
  )
  if (failures.length > 0 || lost > 0 || lines.some(({ killed }) => killed === 'yes'))
    process.exitCode = 1
}

const s = (ms) => Math.round(ms / 10) / 100

async function startLoad(ports, { writers, searchers }) {
  await makeTable(ports[0])
  const state = {
    isStopped: false,
    retries: 0,
    failures: [],
    acknowledged: new Set(),
    counts: { write: 0, search: 0 },
    /** Of the part that is going on. */
    part: undefined,
    longestGapMs: 0,
  }
  const clients = [
    ...Array.from({ length: writers }, (_, i) => writing(state, new Client(ports, i), i)),
    ...Array.from({ length: searchers }, (_, i) => searching(state, new Client(ports, i))),
  ]
  return {
    failures: state.failures,
    counts: state.counts,
    get retries() {
      return state.retries
    },
    get longestGapMs() {
      return state.longestGapMs
    },
    begin() {
      const now = performance.now()
      const fresh = () => ({ lastMs: now, gapMs: 0, slowestMs: 0, count: 0 })
      state.part = {
        write: fresh(),
        search: fresh(),
        retries: state.retries,
        failures: state.failures.length,
      }
    },
    end() {
      const { write, search, retries, failures } = state.part
      for (const kind of [write, search])
        kind.gapMs = Math.max(kind.gapMs, performance.now() - kind.lastMs)
      state.longestGapMs = Math.max(state.longestGapMs, write.gapMs, search.gapMs)
      state.part = undefined
      return {
        writes: write.count,
        'write gap s': s(write.gapMs),
        'slowest write s': s(write.slowestMs),
        searches: search.count,
        'search gap s': s(search.gapMs),
        'slowest search s': s(search.slowestMs),
        retries: state.retries - retries,
        failures: state.failures.length - failures,
      }
    },
    async stop() {
      state.isStopped = true
      await Promise.all(clients)
    },
    async verify() {
      const client = new Client(ports, 0)
      const found = await client.query(`SELECT id FROM ${table}`, [])
      await client.end()
      const present = new Set(found.rows.map(({ id }) => Number(id)))
      if (present.size !== found.rows.length) state.failures.push('a row is there twice')
      return [...state.acknowledged].filter((id) => !present.has(id)).length
    },
  }
}

async function makeTable(port) {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' })
  await client.connect()
  await client.query('CREATE EXTENSION IF NOT EXISTS vector')
  await client.query(`DROP TABLE IF EXISTS ${table}`)
  await client.query(
    `CREATE TABLE ${table} (id int PRIMARY KEY, e vector(${dimensions})) WITH (shards = 2, replicas = 2)`,
  )
  for (let part = 0; part < 4; part += 1) {
    const from = -1 - part * 500
    await client.query(
      `INSERT INTO ${table} SELECT ${from} - g, ('[' || (SELECT string_agg(random()::text, ',') FROM
       generate_series(1, ${dimensions}) WHERE g IS NOT NULL) || ']')::vector FROM generate_series(0, 499) g`,
    )
    await client.query('CHECKPOINT')
  }
  await client.query(`CREATE INDEX ON ${table} USING hnsw (e vector_l2_ops)`)
  await client.end()
}

/** Keeps one connection; after a failure the next is to the next proxy. */
class Client {
  #ports
  #at
  #client

  constructor(ports, at) {
    this.#ports = ports
    this.#at = at
  }

  async query(sql, values) {
    if (this.#client === undefined) {
      const port = this.#ports[this.#at % this.#ports.length]
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: 'postgres',
        database: 'postgres',
      })
      // Told by the statement that fails; an idle connection that is ended is made anew.
      client.on('error', () => this.#drop(client))
      client.on('end', () => this.#drop(client))
      this.#client = client
      await client.connect()
    }
    return await this.#client.query(sql, values)
  }

  turn() {
    this.#at += 1
    this.#drop(this.#client)
  }

  #drop(client) {
    if (this.#client !== client) return
    this.#client = undefined
    client?.end().catch(() => {})
  }

  async end() {
    await this.#client?.end().catch(() => {})
  }
}

async function run(state, client, kind, sql, values) {
  const beganMs = performance.now()
  let result
  try {
    result = await client.query(sql, values)
  } catch (error) {
    state.retries += 1
    client.turn()
    try {
      result = await client.query(sql, values)
    } catch (again) {
      client.turn()
      state.failures.push(
        `${kind}: ${again.code ?? ''} ${again.message} (first: ${error.code ?? ''} ${error.message})`,
      )
      await sleep(100)
      return undefined
    }
  }
  const nowMs = performance.now()
  state.counts[kind] += 1
  const part = state.part?.[kind]
  if (part !== undefined) {
    part.count += 1
    part.gapMs = Math.max(part.gapMs, nowMs - part.lastMs)
    part.lastMs = nowMs
    part.slowestMs = Math.max(part.slowestMs, nowMs - beganMs)
  }
  return result
}

const vector = () => `[${Array.from({ length: dimensions }, () => Math.random()).join()}]`

async function writing(state, client, number) {
  for (let n = 0; !state.isStopped; n += 1) {
    const id = number * 10_000_000 + n + 1
    // What a first attempt did whose answer was lost stands.
    const sql = `INSERT INTO ${table} VALUES ($1, $2::text::vector) ON CONFLICT (id) DO NOTHING`
    if ((await run(state, client, 'write', sql, [id, vector()])) !== undefined)
      state.acknowledged.add(id)
    await sleep(10)
  }
  await client.end()
}

async function searching(state, client) {
  while (!state.isStopped) {
    const sql = `SELECT id FROM ${table} ORDER BY e <-> $1::text::vector LIMIT 5`
    const found = await run(state, client, 'search', sql, [vector()])
    if (found !== undefined && found.rows.length !== 5)
      state.failures.push(`search: ${found.rows.length} rows`)
    await sleep(10)
  }
  await client.end()
}

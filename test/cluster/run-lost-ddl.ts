/**
 * By hand: node --import tsx --conditions=source test/cluster/run-lost-ddl.ts [--rounds 25] [--port N] [--folder DIR]
 *
 * A proxy is killed while it commits a transaction with a new table and its rows; then the other makes a table. The first is
 * there with all its rows, or not at all, and always when its commit was acknowledged; the other is empty. Exit status 1: it is not so.
 */
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { type Address, Programs } from './programs.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '25' },
    port: { type: 'string', default: '24900' },
    folder: { type: 'string' },
  },
})
const rowCount = 50
const folder = values.folder ?? (await mkdtemp(join(tmpdir(), 'elanus-lost-ddl-')))
await mkdir(folder, { recursive: true })
const programs = new Programs({ folder, port: Number(values.port), startArguments: [] })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const [first, second] = programs.proxies as readonly [Address, Address]

async function connect({ host, port }: Address): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' })
  client.on('error', () => {})
  await client.connect()
  return client
}

async function begin(client: pg.Client, table: string): Promise<void> {
  await client.query('BEGIN')
  await client.query(`CREATE TABLE ${table} (id int PRIMARY KEY, word text)`)
  await client.query(`INSERT INTO ${table} SELECT g, 'w' FROM generate_series(1, ${rowCount}) g`)
}

async function count(client: pg.Client, table: string): Promise<number> {
  const { rows } = await client.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`)
  return Number(rows[0]?.n)
}

/** @returns what happened, and whether it may */
async function round(n: number): Promise<{ readonly what: string; readonly isRight: boolean }> {
  const client = await connect(first)
  await begin(client, `measured_${n}`)
  const startedMs = performance.now()
  await client.query('COMMIT')
  const commitMs = performance.now() - startedMs
  await begin(client, `lost_${n}`)
  const commit = client.query('COMMIT').then(
    () => 'acknowledged',
    () => 'unclear',
  )
  // Moments that are spread evenly, however few they are.
  await sleep(commitMs * (0.35 + 0.65 * ((n * 0.618) % 1)))
  programs.signal('proxy-1', 'SIGKILL')
  const told = await commit
  await client.end().catch(() => {})
  const other = await connect(second)
  try {
    await other.query(`CREATE TABLE next_${n} (id int PRIMARY KEY, word text, more int)`)
    const ghosts = await count(other, `next_${n}`)
    const found = await other.query(`SELECT FROM pg_tables WHERE tablename = 'lost_${n}'`)
    const rows = found.rowCount === 1 ? await count(other, `lost_${n}`) : undefined
    const isRight =
      ghosts === 0 && (rows === rowCount || (rows === undefined && told === 'unclear'))
    const what = `${told}, ${rows === undefined ? 'not there' : `there with ${rows} rows`}, ${ghosts} in the other`
    for (const name of ['measured', 'lost', 'next']) {
      await other.query(`DROP TABLE IF EXISTS ${name}_${n}`)
    }
    return { what, isRight }
  } finally {
    await other.end()
  }
}

await programs.start()
const counts = new Map<string, number>()
for (let n = 1; n <= Number(values.rounds); n += 1) {
  const { what, isRight } = await round(n)
  counts.set(what, (counts.get(what) ?? 0) + 1)
  if (!isRight) {
    process.stdout.write(`round ${n}: ${what}\n`)
    process.exitCode = 1
  }
  await programs.restart(['proxy-1'])
}
await programs.stop()
for (const [what, times] of counts) process.stdout.write(`${times} × ${what}\n`)

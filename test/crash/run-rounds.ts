/**
 * Rounds of: start, write from several connections, SIGKILL at a random moment, start again, verify. Some rounds kill
 * during start-up or in the middle of a flush.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { type Random, randomFrom } from '../differential/random.js'
import { startServer, type TestServer } from '../server.js'
import { Operator } from './operator.js'
import { readRows, settleWriters, verifyReads } from './verify.js'
import { type Counter, Writer } from './writer.js'

export interface CrashOptions {
  readonly rounds: number
  readonly seed: number
  /** Emptied before use and every `roundsPerDirectory` rounds. */
  readonly data: string
  readonly writerCount: number
  readonly roundsPerDirectory: number
  /** No round begins after it. */
  readonly deadline?: number
  readonly onRound?: (line: string) => void
}

export interface CrashReport {
  readonly rounds: number
  readonly operations: number
  readonly killsDuringStart: number
}

const execute = promisify(execFile)
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const loadMsMax = 2500

/** @throws Error with seed and round when something is lost, doubled, half there or not found */
export async function runCrashRounds(options: CrashOptions): Promise<CrashReport> {
  const random = randomFrom(options.seed)
  let operations = 0
  let killsDuringStart = 0
  let round = 0
  while (round < options.rounds && !isOver(options)) {
    await rm(options.data, { recursive: true, force: true })
    const run = new Directory(options, random)
    try {
      for (
        let i = 0;
        i < options.roundsPerDirectory && round < options.rounds && !isOver(options);
        i += 1
      ) {
        round += 1
        const line = await run.round()
        options.onRound?.(`round ${round}: ${line}`)
      }
      await run.verifyAtEnd()
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(
        `crash seed ${options.seed}, round ${round}: ${message}\n${run.serverOutput()}`,
        { cause: error },
      )
    } finally {
      await run.close()
      operations += run.operations
      killsDuringStart += run.killsDuringStart
    }
  }
  return { rounds: round, operations, killsDuringStart }
}

function isOver({ deadline }: CrashOptions): boolean {
  return deadline !== undefined && Date.now() > deadline
}

/** The life of one data directory. */
class Directory {
  readonly #options: CrashOptions
  readonly #random: Random
  readonly #writers: readonly Writer[]
  readonly #operator: Operator
  readonly #counter: Counter = { acknowledged: 0, unknown: 0 }
  /** Small: segments are sealed, flushed and indexed all the time. */
  readonly #args: readonly string[]
  #server: TestServer | undefined
  killsDuringStart = 0
  #doomedCount = 0

  constructor(options: CrashOptions, random: Random) {
    this.#options = options
    this.#random = random
    this.#writers = Array.from({ length: options.writerCount }, (_, i) => new Writer(i + 1, random))
    this.#operator = new Operator(random)
    this.#args = random.chance(0.7) ? ['--seal-bytes', '1MB'] : []
  }

  get conflicts(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.conflicts, 0)
  }

  get operations(): number {
    return this.#writers.reduce((sum, writer) => sum + writer.operations, 0)
  }

  async round(): Promise<string> {
    const before = this.operations
    const startedAt = Date.now()
    this.#server = await startServer({ data: this.#options.data, args: this.#args })
    const startMs = Date.now() - startedAt
    const rows = await this.#verify(this.#server)
    const loadMs = await this.#writeUntilKilled(this.#server)
    let kills = ''
    while (this.#random.chance(0.2)) {
      kills += `, killed ${await this.#killDuringStart()} ms after the start`
    }
    return `start ${startMs} ms, ${rows} rows verified, ${this.operations - before} operations in ${loadMs} ms, ${this.conflicts} conflicts so far${kills}`
  }

  /** The last kill has not been looked at yet. */
  async verifyAtEnd(): Promise<void> {
    this.#server = await startServer({ data: this.#options.data, args: this.#args })
    await this.#verify(this.#server)
    const doomed = await this.#doomedTables(this.#server)
    await this.#server.stop()
    await this.#verifyDropped(doomed)
  }

  /** Those whose DROP did not happen. */
  async #doomedTables(server: TestServer): Promise<ReadonlySet<string>> {
    const client = new pg.Client(configOf(server))
    await client.connect()
    try {
      const { rows } = await client.query<{ tablename: string }>(
        `SELECT tablename FROM pg_tables WHERE tablename LIKE 'doomed\\_%'`,
      )
      return new Set(rows.map(({ tablename }) => tablename))
    } finally {
      await client.end()
    }
  }

  /** Of a table that was dropped the nodes know nothing any more. */
  async #verifyDropped(present: ReadonlySet<string>): Promise<void> {
    const { stdout } = await execute(process.execPath, [
      ...[main, 'inspect', join(this.#options.data, 'meta'), '--limit', '100000'],
      ...['--key', 'setting/'],
    ])
    const known = [...stdout.matchAll(/table public\.(\w+)/g)].map(([, name = '']) => name)
    if (!known.includes('a')) throw new Error(`inspect does not show the tables: ${stdout}`)
    const left = known.filter((name) => name.startsWith('doomed_') && !present.has(name))
    if (left.length > 0) throw new Error(`${left} were dropped, and nodes still have them`)
    if (stdout.includes('dropped-tables/')) throw new Error('a note of dropped tables is left')
  }

  serverOutput(): string {
    return this.#server?.output().slice(-4000) ?? ''
  }

  async close(): Promise<void> {
    await this.#server?.kill()
  }

  async #writeUntilKilled(server: TestServer): Promise<number> {
    const config = configOf(server)
    const work = [
      ...this.#writers.map((writer) => writer.run(config, this.#counter)),
      this.#operator.run(config),
    ]
    // A refusal is a failure of the test, but only after the server is down.
    const settled = Promise.allSettled(work)
    const loadMs = this.#random.chance(0.2)
      ? this.#random.integer(0, 150)
      : this.#random.integer(150, loadMsMax)
    await new Promise((resolve) => setTimeout(resolve, loadMs))
    const moment = this.#random.integer(1, 10)
    if (moment <= 3) await this.#killInCheckpoint(server)
    else if (moment === 4) await this.#killInDrop(server)
    else await server.kill()
    for (const result of await settled) if (result.status === 'rejected') throw result.reason
    return loadMs
  }

  async #killInCheckpoint(server: TestServer): Promise<void> {
    const client = new pg.Client(configOf(server))
    client.on('error', () => {})
    await client.connect()
    const checkpoint = client.query('CHECKPOINT').catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, this.#random.integer(0, 40)))
    await server.kill()
    await checkpoint
    await client.end().catch(() => {})
  }

  async #killInDrop(server: TestServer): Promise<void> {
    const client = new pg.Client(configOf(server))
    client.on('error', () => {})
    await client.connect()
    try {
      let dropMs = 0
      for (let i = 0; i < 3; i += 1) {
        const name = await this.#makeDoomed(client)
        const startedMs = performance.now()
        await client.query(`DROP TABLE ${name}`)
        dropMs = performance.now() - startedMs
      }
      const name = await this.#makeDoomed(client)
      const drop = client.query(`DROP TABLE ${name}`).catch(() => {})
      const killMs = (dropMs * this.#random.integer(40, 105)) / 100
      await new Promise((resolve) => setTimeout(resolve, killMs))
      await server.kill()
      await drop
    } finally {
      await server.kill()
      await client.end().catch(() => {})
    }
  }

  async #makeDoomed(client: pg.Client): Promise<string> {
    this.#doomedCount += 1
    const name = `doomed_${this.#doomedCount}`
    await client.query(`CREATE TABLE ${name} (id int PRIMARY KEY)`)
    await client.query(`INSERT INTO ${name} SELECT generate_series(1, 100)`)
    if (this.#random.chance(0.5)) await client.query('CHECKPOINT')
    return name
  }

  async #killDuringStart(): Promise<number> {
    this.killsDuringStart += 1
    const delayMs = this.#random.integer(50, 1800)
    const child = spawn(
      process.execPath,
      [main, 'start', '--port', '0', '--data', this.#options.data, ...this.#args],
      { stdio: 'ignore', env: { ...process.env, NODE_OPTIONS: '' } },
    )
    const ended = once(child, 'exit')
    await new Promise((resolve) => setTimeout(resolve, delayMs))
    child.kill('SIGKILL')
    await ended
    return delayMs
  }

  /** @returns number of rows */
  async #verify(server: TestServer): Promise<number> {
    const client = new pg.Client(configOf(server))
    await client.connect()
    try {
      await client.query('CREATE EXTENSION IF NOT EXISTS vector')
      for (const table of ['a', 'b']) {
        await client.query(
          `CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY, version int NOT NULL, note text, e vector(8) NOT NULL)`,
        )
      }
      await client.query('CREATE TABLE IF NOT EXISTS counters (id int PRIMARY KEY, n int NOT NULL)')
      await client.query('INSERT INTO counters VALUES (1, 0) ON CONFLICT DO NOTHING')
      const rows = await readRows(client)
      settleWriters(this.#writers, rows)
      await this.#verifyCounter(client)
      const wrong = await this.#operator.verify(client)
      if (wrong !== undefined) throw new Error(wrong)
      await verifyReads(client, rows, this.#random)
      return rows.a.size + rows.b.size
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #verifyCounter(client: pg.Client): Promise<void> {
    const { rows } = await client.query<{ n: number }>('SELECT n FROM counters')
    const n = rows[0]?.n ?? -1
    const { acknowledged, unknown } = this.#counter
    if (rows.length !== 1 || n < acknowledged || n > acknowledged + unknown) {
      throw new Error(
        `the counter is ${n} in ${rows.length} rows after ${acknowledged} acknowledged increments and ${unknown} unknown ones`,
      )
    }
    this.#counter.acknowledged = n
    this.#counter.unknown = 0
  }
}

function configOf(server: TestServer): pg.ClientConfig {
  return { host: server.host, port: server.port, user: server.user, database: server.database }
}

/**
 * A bank on a real server that is killed every few seconds (SIGKILL, sometimes while it starts) and started again on the same data
 * directory, while many connections transfer, sum up and append to lists, and one disturbs: flushes, compaction, index builds.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type Random, randomFrom } from '../differential/random.js'
import { startServer, type TestServer } from '../server.js'
import { audit } from './audit.js'
import type { Bank } from './check-bank.js'
import { runClient, type Shared } from './client.js'
import { createBank } from './create-bank.js'
import { Lists } from './lists.js'
import { openRecorder } from './recorder.js'

export interface BankOptions {
  readonly seconds: number
  readonly connections: number
  readonly shards: number
  readonly logChannels: number
  readonly seed: number
  readonly data: string
  readonly historyPath: string
  readonly bank: Bank
  /** Between the first acknowledged operation and the kill. */
  readonly upMs: readonly [min: number, max: number]
  readonly onRound?: (line: string) => void
}

export interface BankReport {
  readonly rounds: number
  readonly kills: number
  readonly killsDuringStart: number
  /** Errors that are neither of the connection nor 40001 or 40P01. */
  readonly unexpected: readonly string[]
}

/** A bound against hanging. */
const silentMsMax = 60_000
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** @throws Error when the server does not start, or what it holds cannot be read */
export async function runBank(options: BankOptions): Promise<BankReport> {
  const recorder = openRecorder(options.historyPath)
  const run = new BankRun(options, {
    recorder,
    random: randomFrom(options.seed),
    accountCount: options.bank.accountCount,
    lists: new Lists(),
    unexpected: [],
    nextTransfer: counter(),
    acknowledged: { count: 0 },
  })
  try {
    return await run.all()
  } finally {
    await run.close()
    await recorder.close()
  }
}

class BankRun {
  readonly #options: BankOptions
  readonly #shared: Shared
  readonly #random: Random
  readonly #args: readonly string[]
  #server: TestServer | undefined
  #auditFrom = 1
  #nextProcess = 1
  #kills = 0
  #killsDuringStart = 0

  constructor(options: BankOptions, shared: Shared) {
    this.#options = options
    this.#shared = shared
    this.#random = randomFrom(options.seed + 1)
    this.#args = [
      // Small: segments are sealed, flushed and merged all the time.
      ...['--seal-bytes', '1MB'],
      ...(options.logChannels > 1 ? ['--log-channels', String(options.logChannels)] : []),
    ]
  }

  async all(): Promise<BankReport> {
    let rounds = 0
    await this.#start()
    await this.#create()
    const deadline = Date.now() + this.#options.seconds * 1000
    do {
      rounds += 1
      await this.#round(rounds)
    } while (Date.now() < deadline)
    // Once more everything from the first: what audits have seen must not change afterwards.
    await this.#audit(1)
    await this.#server?.stop()
    return {
      rounds,
      kills: this.#kills,
      killsDuringStart: this.#killsDuringStart,
      unexpected: this.#shared.unexpected,
    }
  }

  async close(): Promise<void> {
    await this.#server?.kill()
  }

  async #start(): Promise<number> {
    const startedAt = Date.now()
    this.#server = await startServer({ data: this.#options.data, args: this.#args })
    return Date.now() - startedAt
  }

  /** Work, kill, start, audit. */
  async #round(round: number): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    let over = false
    const firstTransfer = this.#shared.nextTransfer()
    const clients = Array.from({ length: this.#options.connections }, () =>
      this.#keepRunning(server, () => over),
    )
    const disturbing = this.#disturb(server, () => over)
    const upMs = this.#random.integer(...this.#options.upMs)
    const before = this.#shared.acknowledged.count
    const silentAfter = Date.now() + silentMsMax
    while (this.#shared.acknowledged.count === before && Date.now() < silentAfter) await sleep(20)
    if (this.#shared.acknowledged.count === before)
      throw new Error(
        `nothing was acknowledged for ${silentMsMax} ms\n${server.output().slice(-4000)}`,
      )
    await sleep(upMs)
    over = true
    await this.#kill(server)
    await Promise.all([...clients, disturbing])
    const asked = this.#shared.nextTransfer() - firstTransfer - 1
    while (this.#random.chance(0.15)) await this.#killDuringStart()
    const startMs = await this.#start()
    const found = await this.#audit(round === 1 ? 1 : this.#auditFrom)
    this.#options.onRound?.(
      `round ${round}: up ${upMs} ms, ${asked} transfers asked for, started again in ${startMs} ms, ${found} found`,
    )
  }

  /** A connection that ends while the server runs is replaced by another process. */
  async #keepRunning(server: TestServer, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const process = this.#nextProcess
      this.#nextProcess += 1
      await runClient(configOf(server), process, this.#shared, isOver)
      await sleep(20)
    }
  }

  async #kill(server: TestServer): Promise<void> {
    this.#kills += 1
    const operation = { f: 'kill', value: this.#kills } as const
    this.#shared.recorder.complete(0, 'info', operation)
    await server.kill()
  }

  async #killDuringStart(): Promise<void> {
    this.#killsDuringStart += 1
    const child = spawn(
      process.execPath,
      [main, 'start', '--port', '0', '--data', this.#options.data, ...this.#args],
      { stdio: 'ignore', env: { ...process.env, NODE_OPTIONS: '' } },
    )
    const ended = once(child, 'exit')
    await sleep(this.#random.integer(50, 3000))
    child.kill('SIGKILL')
    await ended
  }

  async #create(): Promise<void> {
    await this.#withClient((client) => createBank(client, this.#options.bank, this.#options.shards))
  }

  /** @returns how many transfers are new */
  async #audit(from: number): Promise<number> {
    const process = this.#nextProcess
    this.#nextProcess += 1
    this.#shared.recorder.invoke(process, { f: 'audit', value: null })
    const value = await this.#withClient((client) => audit(client, from))
    this.#shared.recorder.complete(process, 'ok', { f: 'audit', value })
    this.#auditFrom = this.#shared.nextTransfer()
    return value.transfers.length
  }

  async #disturb(server: TestServer, isOver: () => boolean): Promise<void> {
    const client = new pg.Client(configOf(server))
    client.on('error', () => {})
    try {
      await client.connect()
      while (!isOver()) {
        await sleep(this.#random.integer(100, 1200))
        const statement = this.#random.pick([
          'CHECKPOINT',
          'CHECKPOINT',
          'VACUUM accounts',
          'VACUUM FULL lists',
          'VACUUM FULL accounts',
          'VACUUM FULL legs',
          // Seldom: every statement is planned anew afterwards.
          this.#random.chance(0.2)
            ? 'CREATE INDEX IF NOT EXISTS legs_account ON legs (account)'
            : 'CHECKPOINT',
          this.#random.chance(0.2) ? 'DROP INDEX IF EXISTS legs_account' : 'CHECKPOINT',
        ])
        await client.query(statement)
      }
    } catch (error) {
      if (
        error instanceof pg.DatabaseError &&
        error.code !== '40001' &&
        error.code?.startsWith('57P') !== true
      )
        this.#shared.unexpected.push(`disturbing: ${error.code} ${error.message}`)
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #withClient<T>(act: (client: pg.Client) => Promise<T>): Promise<T> {
    const server = this.#server
    if (server === undefined) throw new Error('no server')
    const client = new pg.Client(configOf(server))
    await client.connect()
    try {
      return await act(client)
    } catch (error) {
      throw new Error(
        `${error instanceof Error ? error.message : error}\n${server.output().slice(-4000)}`,
        {
          cause: error,
        },
      )
    } finally {
      await client.end().catch(() => {})
    }
  }
}

function counter(): () => number {
  let next = 0
  return () => {
    next += 1
    return next
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function configOf(server: TestServer): pg.ClientConfig {
  return { host: server.host, port: server.port, user: server.user, database: server.database }
}

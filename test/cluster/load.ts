/** What runs against the cluster while things are done to it: the bank, searches, updates; all through both proxies. */
import pg from 'pg'
import { audit } from '../bank/audit.js'
import type { Bank } from '../bank/check-bank.js'
import { runClient, type Shared } from '../bank/client.js'
import { createBank } from '../bank/create-bank.js'
import { Lists } from '../bank/lists.js'
import { openRecorder, type Recorder } from '../bank/recorder.js'
import { type Random, randomFrom } from '../differential/random.js'
import { describe, Probe, WrongAnswer } from './probe.js'
import type { Address } from './programs.js'
import {
  checkIds,
  checkTotal,
  createItems,
  Increments,
  searchByIndex,
  searchExactly,
} from './search-table.js'

export interface LoadOptions {
  readonly proxies: readonly Address[]
  readonly seed: number
  readonly historyPath: string
  readonly bank: Bank
  readonly bankClients: number
}

export class Load {
  readonly readers: readonly Probe[]
  readonly writers: readonly Probe[]
  readonly #options: LoadOptions
  readonly #recorder: Recorder
  readonly #shared: Shared
  readonly #random: Random
  readonly #increments = new Increments()
  #process = 1
  #isOver = true
  #running: Promise<unknown> = Promise.resolve()
  #auditFrom = 1
  /** What is wrong whatever the history says. */
  readonly wrong: string[] = []

  constructor(options: LoadOptions) {
    const { seed, proxies } = options
    this.#options = options
    this.#random = randomFrom(seed)
    this.#recorder = openRecorder(options.historyPath)
    let transfer = 0
    this.#shared = {
      recorder: this.#recorder,
      random: randomFrom(seed + 1),
      accountCount: options.bank.accountCount,
      lists: new Lists(),
      unexpected: [],
      acknowledged: { count: 0 },
      nextTransfer: () => {
        transfer += 1
        return transfer
      },
    }
    const random = this.#random
    const reads = [checkTotal, checkIds, searchExactly, searchByIndex]
    this.readers = proxies.map(
      (_, first) =>
        new Probe({
          ...{ name: `reader ${first + 1}`, proxies, first },
          act: (client) => random.pick(reads)(client, random),
        }),
    )
    this.writers = proxies.map(
      (_, first) =>
        new Probe({
          ...{ name: `writer ${first + 1}`, proxies, first },
          act: (client) => this.#increments.increment(client, random, first, proxies.length),
        }),
    )
  }

  /** Errors that no client should see. */
  get unexpected(): readonly string[] {
    return this.#shared.unexpected
  }

  get acknowledged(): number {
    return this.#shared.acknowledged.count
  }

  async create(): Promise<void> {
    await this.#withClient(0, async (client) => {
      await createBank(client, this.#options.bank, 2)
      await createItems(client)
    })
  }

  begin(): void {
    this.#isOver = false
    const isOver = () => this.#isOver
    this.#running = Promise.all([
      ...[...this.readers, ...this.writers].map((probe) => probe.run(isOver)),
      ...Array.from({ length: this.#options.bankClients }, (_, i) => this.#runBankClients(i)),
      this.#maintain(),
    ])
  }

  /** Resolves when the last statement has been answered. */
  async pause(): Promise<void> {
    this.#isOver = true
    await this.#running
  }

  /** Everything that is there, while nobody writes. */
  async audit(from: 'last' | 'first' = 'last'): Promise<void> {
    const process = this.#nextProcess()
    const begin = from === 'first' ? 1 : this.#auditFrom
    for (const proxy of this.#options.proxies.keys()) {
      await this.#withClient(proxy, async (client) => {
        try {
          await this.#increments.check(client)
          await checkTotal(client)
          await checkIds(client)
        } catch (error) {
          if (!(error instanceof WrongAnswer)) throw error
          this.wrong.push(error.message)
        }
      })
    }
    this.#recorder.invoke(process, { f: 'audit', value: null })
    const value = await this.#withClient(0, (client) => audit(client, begin))
    this.#recorder.complete(process, 'ok', { f: 'audit', value })
    this.#auditFrom = this.#shared.nextTransfer()
  }

  async close(): Promise<void> {
    await this.#recorder.close()
  }

  /** A connection that ends is replaced by another process, which turns to the other proxy. */
  async #runBankClients(first: number): Promise<void> {
    const { proxies } = this.#options
    for (let at = first; !this.#isOver; at += 1) {
      const address = proxies[at % proxies.length]
      const config = { ...address, user: 'postgres', database: 'postgres' }
      await runClient(config, this.#nextProcess(), this.#shared, () => this.#isOver)
      if (!this.#isOver) await sleep(50)
    }
  }

  /** Flushes and merges, so that segments change hands while nodes die. */
  async #maintain(): Promise<void> {
    const { proxies } = this.#options
    for (let at = 0; !this.#isOver; at += 1) {
      await sleep(this.#random.integer(500, 2000))
      const statement = this.#random.pick(['CHECKPOINT', 'CHECKPOINT', 'VACUUM FULL items'])
      await this.#withClient(at % proxies.length, (client) => client.query(statement)).catch(
        (error: unknown) => {
          if (isDefect(error)) this.wrong.push(`${statement}: ${describe(error)}`)
        },
      )
    }
  }

  async #withClient<T>(proxy: number, act: (client: pg.Client) => Promise<T>): Promise<T> {
    const config = { ...this.#options.proxies[proxy], user: 'postgres', database: 'postgres' }
    const client = new pg.Client(config)
    client.on('error', () => {})
    await client.connect()
    try {
      return await act(client)
    } finally {
      void client.end().catch(() => {})
    }
  }

  #nextProcess(): number {
    this.#process += 1
    return this.#process
  }
}

/** Classes that say that something is away, full or in conflict; all else is a defect. */
export function isDefect(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return false
  return !/^(08|57P|40|58030|53|72000)/.test(error.code ?? '')
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

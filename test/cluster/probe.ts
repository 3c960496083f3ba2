/**
 * A client that does one thing again and again, as an application with two addresses does: when its proxy fails, it connects
 * to the other and tries once more. When it succeeded is kept: the gaps are what users feel.
 */
import pg from 'pg'
import type { Address } from './programs.js'

export class WrongAnswer extends Error {}

/** It has answered nothing: neither a result nor an error. A bound against hanging, far above what the nodes wait. */
const silentMsMax = 90_000
const pauseMs = 100

export interface ProbeOptions {
  readonly name: string
  readonly proxies: readonly Address[]
  /** The proxy it begins with. */
  readonly first: number
  /** Of each new connection. */
  readonly prepare?: (client: pg.Client) => Promise<void>
  /** @param attempt 1, or 2 when the first has failed. @throws WrongAnswer; what the database says */
  readonly act: (client: pg.Client, attempt: number) => Promise<void>
}

export class Probe {
  readonly name: string
  readonly wrong: string[] = []
  /** Code and first words of what failed twice, and how often. */
  readonly failures = new Map<string, number>()
  /** When an attempt succeeded, in the order of time; the first entry is when the probe began. */
  readonly #successes: number[] = []
  readonly #options: ProbeOptions
  #client: pg.Client | undefined
  #at: number
  retried = 0
  succeeded = 0

  constructor(options: ProbeOptions) {
    this.name = options.name
    this.#options = options
    this.#at = options.first
  }

  async run(isOver: () => boolean): Promise<void> {
    this.#successes.push(performance.now())
    while (!isOver()) {
      await this.#once()
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    this.#drop()
  }

  /** The longest time without a success that lies at least in part between the two. */
  gapMs(fromMs: number, toMs: number): number {
    let longest = 0
    for (let i = 1; i <= this.#successes.length; i += 1) {
      const start = this.#successes[i - 1] ?? 0
      const end = this.#successes[i] ?? toMs
      if (end < fromMs || start > toMs) continue
      longest = Math.max(longest, end - start)
    }
    return longest
  }

  /** How long after the time it first succeeded; undefined: not yet. */
  backAfterMs(fromMs: number): number | undefined {
    const found = this.#successes.find((at) => at >= fromMs)
    return found === undefined ? undefined : found - fromMs
  }

  async #once(): Promise<void> {
    for (const attempt of [1, 2]) {
      try {
        await withBound(this.#attempt(attempt))
        this.#successes.push(performance.now())
        this.succeeded += 1
        return
      } catch (error) {
        this.#drop()
        this.#at = (this.#at + 1) % this.#options.proxies.length
        if (error instanceof WrongAnswer) {
          this.wrong.push(`${this.name}: ${error.message}`)
          return
        }
        if (attempt === 1) this.retried += 1
        else this.#fail(error)
      }
    }
  }

  async #attempt(attempt: number): Promise<void> {
    this.#client ??= await this.#connect()
    await this.#options.act(this.#client, attempt)
  }

  async #connect(): Promise<pg.Client> {
    const { proxies, prepare } = this.#options
    const client = new pg.Client({
      ...proxies[this.#at],
      user: 'postgres',
      database: 'postgres',
    })
    client.on('error', () => {})
    await client.connect()
    await prepare?.(client)
    return client
  }

  #drop(): void {
    // Not end(): that waits for a server that may be gone.
    void this.#client?.end().catch(() => {})
    this.#client = undefined
  }

  #fail(error: unknown): void {
    const text = describe(error)
    this.failures.set(text, (this.failures.get(text) ?? 0) + 1)
  }
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? `${String(error.code)} ` : ''
  return `${code}${error.message}`.slice(0, 160)
}

async function withBound(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new WrongAnswer(`no answer for ${silentMsMax / 1000} s`)),
      silentMsMax,
    )
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
    work.catch(() => {})
  }
}

/**
 * Random transactions over three log channels while messages are lost, late and repeated, proxies die, logs fail and nodes
 * crash at any moment. Judged against plain bookkeeping: what was committed, in the order of its timestamps, must be a
 * history in which every key was free and every deleted row was the one that was read, and every snapshot must show what
 * that history says: whole transactions (TXN-1), everything acknowledged, the same on all nodes.
 *
 * ELANUS_SEED=<n> repeats one run (as far as timers allow); ELANUS_PROPERTY_RUNS sets how many there are.
 */
import { expect, test } from 'vitest'
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { Cluster, request, type StoredDoc } from '#nodes/streaming/cluster.testing.js'
import type { ChannelWrite, CommitRequest, StreamingNode } from '#nodes/streaming/contract.js'
import {
  batchOf,
  type Doc,
  docs,
  nameKeyOid,
  primaryKey,
  tableId,
} from '#nodes/streaming/streaming.testing.js'
import { noFault } from '#storage/faults.js'

const nameKey: KeyConstraint = {
  name: 'docs_name_key',
  indexOid: nameKeyOid,
  attnums: [2],
  primary: false,
  nullsNotDistinct: false,
}
const shards = [0, 1, 2]
const table: TableSchema = { ...docs, keys: [primaryKey, nameKey], shardCount: 3 }
/** Every transaction puts a row into it on each log channel it visits: they are seen together or not at all. */
const marks: TableSchema = {
  ...docs,
  tableId: tableId + 3,
  name: 'marks',
  keys: [{ ...primaryKey, indexOid: 16399 }],
  shardCount: 3,
}
const idCount = 24
const limits = { segmentBytesMax: 3000, smallSegmentCountMax: 3, undecidedMs: 5 }

class Lost extends Error {}

type Result =
  | { readonly kind: 'committed'; readonly at: Timestamp }
  | { readonly kind: 'aborted' }
  /** Its id, if it has one, for who asks at the end. */
  | { readonly kind: 'unknown'; readonly id: string | undefined; readonly decider: string }

interface Transaction {
  readonly number: number
  readonly readAt: Timestamp
  readonly truncate: boolean
  readonly deletes: readonly StoredDoc[]
  readonly inserts: readonly Doc[]
  readonly logChannels: readonly string[]
  result: Result | undefined
}

interface Snapshot {
  readonly at: Timestamp
  readonly rows: readonly StoredDoc[]
  readonly marked: ReadonlyMap<number, number>
}

class Run {
  readonly cluster: Cluster
  readonly #random: () => number
  readonly transactions: Transaction[] = []
  readonly snapshots: Snapshot[] = []
  readonly #unexpected: unknown[] = []
  #isHealed = false

  constructor(cluster: Cluster, seed: number) {
    this.cluster = cluster
    this.#random = randomFrom(seed)
  }

  #chance(part: number): boolean {
    return this.#random() < part
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  async #sleep(msMax: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.#below(msMax + 1)))
  }

  async start(): Promise<void> {
    await this.cluster.openAll(limits)
    for (const logChannel of this.cluster.logChannels) {
      await this.cluster.node(logChannel).putTable(table)
      await this.cluster.node(logChannel).putTable(marks)
    }
    this.cluster.walFaults = (operation) => {
      if (this.#isHealed) return noFault
      const delays = { delayBeforeMs: this.#below(3), delayAfterMs: this.#below(3) }
      if (operation !== 'wal.append' || !this.#chance(0.01)) return { kind: 'none', ...delays }
      const kinds = ['refused', 'lost', 'done-unknown'] as const
      return { kind: kinds[this.#below(3)] ?? 'lost', ...delays }
    }
  }

  async trouble(until: Promise<unknown>): Promise<void> {
    let isOver = false
    void until.finally(() => {
      isOver = true
    })
    while (!isOver) {
      await this.#sleep(15)
      const missing = this.cluster.logChannels.find((name) => !this.cluster.members.has(name))
      const logChannel = missing ?? `log-${this.#below(3)}`
      const member = this.cluster.members.get(logChannel)
      if (member === undefined) {
        await this.cluster.open(logChannel, limits).catch((error) => this.#note(error))
      } else if (member.hasFailed() || this.#chance(0.1)) {
        member.crash((_, count) => this.#below(count + 1))
      } else {
        const work = this.#chance(0.4)
          ? member.node.flush(undefined, { signal: AbortSignal.timeout(500) })
          : member.node.runBackground()
        await orTimeout(work, 300).catch((error) => this.#note(error))
      }
    }
  }

  /** What must never be seen, whatever fails. */
  #note(error: unknown): void {
    const isDefect =
      error instanceof Error &&
      (error.name === 'InvariantError' || error instanceof TypeError || error instanceof RangeError)
    if (isDefect) this.#unexpected.push(error)
  }

  /** A message: it may be lost on either way, and come twice if that is safe. */
  async #send<T>(
    logChannel: string,
    repeat: 'may repeat' | 'once',
    message: (node: StreamingNode) => Promise<T>,
  ): Promise<T> {
    const deliver = async () => {
      const member = this.cluster.members.get(logChannel)
      if (member === undefined) throw new Lost()
      return await message(member.node)
    }
    await this.#sleep(2)
    if (this.#chance(0.04)) throw new Lost()
    if (repeat === 'may repeat' && this.#chance(0.1)) {
      void this.#sleep(60)
        .then(deliver)
        .catch((error) => this.#note(error))
    }
    const answer = await orTimeout(deliver(), 400).catch((error) => {
      this.#note(error)
      throw error
    })
    if (this.#chance(0.04)) throw new Lost()
    return answer
  }

  async #attempt<T>(times: number, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work()
      } catch (error) {
        if (attempt === times || !isUnclear(error)) throw error
        await this.#sleep(20)
      }
    }
  }

  async client(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      while (this.cluster.members.size < 3) await this.#sleep(10)
      try {
        if (this.#chance(0.3)) await this.#look()
        else await this.#transact()
      } catch (error) {
        this.#note(error)
      }
      await this.#sleep(4)
    }
  }

  async #read(at: Timestamp, within: Context): Promise<Snapshot> {
    const [rows, marked] = await Promise.all([
      this.cluster.rows(at, shards, table.tableId, within),
      this.cluster.rows(at, shards, marks.tableId, within),
    ])
    const counts = new Map<number, number>()
    for (const { name } of marked) counts.set(Number(name), (counts.get(Number(name)) ?? 0) + 1)
    return { at, rows, marked: counts }
  }

  async #look(): Promise<Snapshot> {
    const past = this.#chance(0.3)
      ? this.snapshots[this.#below(this.snapshots.length)]?.at
      : undefined
    const at = past ?? (await this.cluster.coordinator.timestamp())
    const within = { signal: AbortSignal.timeout(400) }
    const snapshot = await orTimeout(this.#read(at, within), 500)
    this.snapshots.push(snapshot)
    return snapshot
  }

  async #transact(): Promise<void> {
    const { at: readAt, rows } = await this.#look()
    const number = this.transactions.length + 1
    const truncate = this.#chance(0.03)
    const deletes = truncate ? [] : rows.filter(() => this.#chance(0.15))
    const taken = new Set(rows.map(({ id }) => id))
    const inserts = new Map<number, Doc>()
    for (let i = this.#below(4); i > 0; i -= 1) {
      const id = this.#below(idCount)
      const isFree = truncate || !taken.has(id) || deletes.some((row) => row.id === id)
      // Sometimes it tries what cannot be.
      if (!isFree && !this.#chance(0.1)) continue
      inserts.set(id, { id, name: this.#chance(0.3) ? null : `name${this.#below(idCount)}` })
    }
    if (inserts.size === 0 && deletes.length === 0 && !truncate) return
    const names = [...inserts.values()].flatMap(({ name }) => name ?? [])
    if (new Set(names).size < names.length) return
    const requests = this.#cut(number, readAt, truncate, deletes, [...inserts.values()])
    const logChannels = [...requests.keys()].sort()
    const transaction: Transaction = {
      number,
      readAt,
      truncate,
      deletes,
      inserts: [...inserts.values()],
      logChannels,
      result: undefined,
    }
    this.transactions.push(transaction)
    transaction.result = await this.#commit(logChannels, requests)
  }

  #cut(
    number: number,
    readAt: Timestamp,
    truncate: boolean,
    deletes: readonly StoredDoc[],
    inserts: readonly Doc[],
  ): Map<string, CommitRequest> {
    const named = inserts.filter(({ name }) => name !== null)
    const requests = new Map<string, CommitRequest>()
    for (const shard of shards) {
      const own = inserts.filter(({ id }) => id % 3 === shard)
      const gone = deletes.filter((row) => row.shard === shard).map(({ rowId }) => rowId)
      const others = named.filter(({ id }) => id % 3 !== shard)
      if (!truncate && own.length + gone.length === 0 && named.length === 0) continue
      const mark = batchOf([{ id: number, name: String(number) }])
      const markShard = shards.find(
        (candidate) =>
          this.cluster.ownerOf(candidate, marks.tableId) === this.cluster.ownerOf(shard),
      )
      const writes: (Partial<ChannelWrite> & { readonly shard: number })[] = [
        { tableId: marks.tableId, shard: markShard ?? 0, inserts: [mark] },
      ]
      if (truncate || own.length + gone.length > 0) {
        const deleted = Float64Array.from(gone).sort()
        writes.push({
          shard,
          truncate,
          deletes: deleted,
          inserts: own.length === 0 ? [] : [batchOf(own)],
        })
      }
      const absent = { rowCount: others.length, columns: batchOf(others).columns.slice(1, 2) }
      const absentKeys =
        others.length === 0 ? [] : [{ tableId, indexOid: nameKeyOid, keys: absent }]
      requests.set(this.cluster.ownerOf(shard), request(writes, { readAt, absentKeys }))
    }
    return requests
  }

  async #commit(
    logChannels: readonly string[],
    requests: ReadonlyMap<string, CommitRequest>,
  ): Promise<Result> {
    const others = logChannels.slice(0, -1)
    const decider = logChannels[others.length] ?? ''
    const context = { signal: AbortSignal.timeout(1000) }
    const last = requests.get(decider) ?? request([])
    if (others.length === 0) {
      try {
        const { timestamp } = await this.#send(decider, 'once', (node) =>
          node.commit(last, context),
        )
        return { kind: 'committed', at: timestamp }
      } catch (error) {
        if (!isUnclear(error)) return { kind: 'aborted' }
        return { kind: 'unknown', id: undefined, decider }
      }
    }
    let id = ''
    const asked: string[] = []
    let preparedAt: Timestamp = timestampZero
    try {
      const term = await this.#send(decider, 'may repeat', (node) => node.term())
      id = `${decider}/${term}/${this.#below(2 ** 40)}`
      for (const logChannel of others) {
        asked.push(logChannel)
        const part = requests.get(logChannel) ?? request([])
        const prepared = await this.#attempt(3, () =>
          this.#send(logChannel, 'may repeat', (node) => node.prepare(id, part, context)),
        )
        if (prepared.preparedAt > preparedAt) preparedAt = prepared.preparedAt
        // The proxy dies.
        if (this.#chance(0.03)) return { kind: 'aborted' }
      }
    } catch (error) {
      this.#note(error)
      this.#tell(asked, id, undefined)
      return { kind: 'aborted' }
    }
    const decides = { transactionId: id, participants: others, preparedAt }
    const decision = { ...last, decides }
    const result = await this.#decide(decider, id, decision, context)
    if (this.#chance(0.9)) {
      if (result.kind === 'committed') this.#tell(others, id, result.at)
      if (result.kind === 'aborted') this.#tell(others, id, undefined)
    }
    return result
  }

  async #decide(
    decider: string,
    id: string,
    decision: CommitRequest,
    context: Context,
  ): Promise<Result> {
    try {
      const { timestamp } = await this.#attempt(2, () =>
        this.#send(decider, 'may repeat', (node) => node.commit(decision, context)),
      )
      return { kind: 'committed', at: timestamp }
    } catch (error) {
      if (!isUnclear(error)) return { kind: 'aborted' }
    }
    try {
      const outcome = await this.#attempt(3, () =>
        this.#send(decider, 'may repeat', (node) => node.outcome(id)),
      )
      if (outcome.kind === 'committed') return { kind: 'committed', at: outcome.timestamp }
      if (outcome.kind === 'aborted') return outcome
    } catch (error) {
      this.#note(error)
    }
    return { kind: 'unknown', id, decider }
  }

  #tell(logChannels: readonly string[], id: string, at: Timestamp | undefined): void {
    for (const logChannel of logChannels) {
      void this.#send(logChannel, 'may repeat', (node) => node.finish(id, at)).catch((error) =>
        this.#note(error),
      )
    }
  }

  /** Everything works again, and what was left is brought to its end. */
  async heal(): Promise<void> {
    this.#isHealed = true
    for (const logChannel of this.cluster.logChannels) {
      const member = this.cluster.members.get(logChannel)
      if (member?.hasFailed()) member.crash()
      if (!this.cluster.members.has(logChannel)) await this.cluster.open(logChannel, limits)
    }
    for (let round = 0; round < 4; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      for (const { node } of this.cluster.members.values()) await node.runBackground()
    }
    for (const transaction of this.transactions) {
      if (transaction.result?.kind === 'unknown') {
        transaction.result = await this.#find(transaction, transaction.result)
      }
      transaction.result ??= await this.#find(transaction, undefined)
    }
  }

  /** What became of it: asked, or found by looking when its mark came. */
  async #find(
    transaction: Transaction,
    unknown: (Result & { kind: 'unknown' }) | undefined,
  ): Promise<Result> {
    const within = { signal: AbortSignal.timeout(5000) }
    let high = await this.cluster.coordinator.timestamp()
    const isThere = async (at: Timestamp) =>
      (await this.#read(at, within)).marked.has(transaction.number)
    if (!(await isThere(high))) return { kind: 'aborted' }
    if (unknown?.id !== undefined) {
      const outcome = await this.cluster.node(unknown.decider).outcome(unknown.id)
      expect(outcome.kind).toBe('committed')
      if (outcome.kind === 'committed') return { kind: 'committed', at: outcome.timestamp }
    }
    let low = transaction.readAt
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2) as Timestamp
      if (await isThere(middle)) high = middle
      else low = middle
    }
    return { kind: 'committed', at: high }
  }

  #historyOf(id: number): string {
    const touching = this.transactions.filter(
      ({ truncate, deletes, inserts }) =>
        truncate || [...deletes, ...inserts].some((row) => row.id === id),
    )
    const told = touching.map((transaction) =>
      JSON.stringify({
        ...transaction,
        deletes: transaction.deletes.filter((row) => row.id === id),
      }),
    )
    return `row ${id}:\n${told.join('\n')}`
  }

  async judge(): Promise<void> {
    expect(this.#unexpected).toEqual([])
    const within = { signal: AbortSignal.timeout(5000) }
    this.snapshots.push(await this.#read(await this.cluster.coordinator.timestamp(), within))
    const committed = this.transactions
      .flatMap((transaction) => {
        const { result } = transaction
        return result?.kind === 'committed' ? [{ ...transaction, at: result.at }] : []
      })
      .sort((a, b) => a.at - b.at)
    const states = [
      { at: timestampZero, rows: new Map<number, { name: string | null; at: number }>() },
    ]
    for (const { at, truncate, deletes, inserts, readAt, number } of committed) {
      const rows = new Map(truncate ? [] : states.at(-1)?.rows)
      for (const { id, name } of deletes) {
        // First committer wins: it is still the row that was read.
        const row = rows.get(id)
        expect({ number, id, name: row?.name }).toEqual({ number, id, name })
        expect(row?.at).toBeLessThanOrEqual(readAt)
        rows.delete(id)
      }
      const names = new Set([...rows.values()].map(({ name }) => name))
      for (const { id, name } of inserts) {
        expect({ number, id, isTaken: rows.has(id) }).toEqual({ number, id, isTaken: false })
        const isTaken = name !== null && names.has(name)
        expect({ number, name, isTaken }).toEqual({ number, name, isTaken: false })
        rows.set(id, { name, at })
      }
      states.push({ at, rows })
    }
    for (const { at, rows, marked } of this.snapshots) {
      const state = states.findLast((candidate) => candidate.at <= at)?.rows ?? new Map()
      const seen = rows.map(({ id, name }) => [id, name]).sort(byId)
      const wanted = [...state].map(([id, { name }]) => [id, name]).sort(byId)
      const unlike = [...seen, ...wanted].filter(
        ([id, name]) =>
          !seen.some((row) => row[0] === id && row[1] === name) ||
          !wanted.some((row) => row[0] === id && row[1] === name),
      )
      const wrong = unlike.map(([id]) => this.#historyOf(Number(id)))
      expect({ at, wrong }).toEqual({ at, wrong: [] })
      const expected = committed
        .filter((transaction) => transaction.at <= at)
        .map(({ number, logChannels }) => [number, logChannels.length])
        .sort(byId)
      expect([...marked].sort(byId)).toEqual(expected)
    }
  }
}

function byId(a: readonly unknown[], b: readonly unknown[]): number {
  return Number(a[0]) - Number(b[0])
}

/** Whether it may have happened. */
function isUnclear(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true
  const clear: readonly string[] = [SqlState.uniqueViolation, SqlState.serializationFailure]
  return !clear.includes(error.sqlState)
}

function orTimeout<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Lost()), ms)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const given = process.env['ELANUS_SEED']
const runs = given === undefined ? Number(process.env['ELANUS_PROPERTY_RUNS'] ?? 8) : 1

test('transactions over log channels are whole, in order and kept, whatever fails', {
  timeout: 30_000 + runs * 15_000,
}, async () => {
  for (let i = 0; i < runs; i += 1) {
    const seed = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
    const cluster = await Cluster.create(3, seed % 2 === 0 ? 'near' : 'remote')
    const run = new Run(cluster, seed)
    try {
      await run.start()
      const clients = Promise.all(Array.from({ length: 5 }, () => run.client(20)))
      await Promise.all([clients, run.trouble(clients)])
      await run.heal()
      await run.judge()
      const kinds = run.transactions.map(({ result }) => result?.kind)
      expect(kinds.filter((kind) => kind === 'committed').length).toBeGreaterThan(0)
    } catch (error) {
      throw new Error(`ELANUS_SEED=${seed}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      })
    } finally {
      await cluster.close()
    }
  }
})

/**
 * What the database must look like: every transaction that was tried, what it wrote, what became of it as far as anybody was
 * told; and the judgement of a snapshot against that.
 *
 * A transaction without an answer is neither: what is later seen of it decides. Each row version has a tag of its own, so
 * that seeing it says which transaction it is of. A timestamp that is not known is kept as bounds: seen at T, so at or before T;
 * not seen at T, so after T.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { Random } from './random.js'
import { isExpired, type Row } from './tables.js'
import type { World } from './world.js'

export interface Version extends Row {
  readonly tableId: number
  readonly by: Transaction
  /** Transactions that tried to delete it: at most one of them may have succeeded. */
  readonly deleters: Transaction[]
}

export interface Transaction {
  readonly number: number
  readonly who: string
  status: 'unknown' | 'committed' | 'aborted'
  /** Newest timestamp known to anybody when its commit was asked for. */
  readonly begunAfter: number
  /** The commit timestamp lies in (low, high]; exact when acknowledged. */
  low: number
  high: number
  readonly inserts: Version[]
  readonly deletes: readonly Version[]
  /** Tables that it truncates. */
  readonly truncates: readonly number[]
}

export interface SeenRow extends Row {
  readonly rowId: number
}

export interface Snapshot {
  readonly readAt: number
  readonly who: string
  /** Complete, at readAt. */
  readonly tables: ReadonlyMap<number, readonly SeenRow[]>
}

/** Clocks of nodes say what lies within the retention (settings.ts), and differ. */
const pastMsMax = 1000

type Verdict = 'in' | 'out'

export class Model {
  readonly #world: World
  readonly #versions = new Map<number, Version>()
  readonly #byTable = new Map<number, Version[]>()
  readonly #truncates: Transaction[] = []
  readonly transactions: Transaction[] = []
  /** Newest timestamp that anybody was given and anything was read at or committed at. */
  newestKnown = 0
  #nextTag = 1
  /** At which something was read not long ago. */
  readonly #pastReads: { readonly readAt: Timestamp; readonly atMs: number }[] = []

  constructor(world: World) {
    this.#world = world
  }

  takeTag(): number {
    return this.#nextTag++
  }

  version(tag: number): Version | undefined {
    return this.#versions.get(tag)
  }

  /** Before its commit is asked for. */
  begin(
    who: string,
    inserts: readonly (Row & { readonly tableId: number })[],
    deletes: readonly Version[],
    truncates: readonly number[] = [],
  ): Transaction {
    const transaction: Transaction = {
      number: this.transactions.length + 1,
      who,
      status: 'unknown',
      begunAfter: this.newestKnown,
      low: this.newestKnown,
      high: Number.POSITIVE_INFINITY,
      inserts: [],
      deletes,
      truncates,
    }
    for (const insert of inserts) {
      const version = { ...insert, by: transaction, deleters: [] }
      transaction.inserts.push(version)
      this.#versions.set(insert.tag, version)
      const others = this.#byTable.get(insert.tableId)
      if (others === undefined) this.#byTable.set(insert.tableId, [version])
      else others.push(version)
    }
    for (const version of deletes) version.deleters.push(transaction)
    if (truncates.length > 0) this.#truncates.push(transaction)
    this.transactions.push(transaction)
    return transaction
  }

  committed(transaction: Transaction, at: number): void {
    if (at <= transaction.begunAfter) {
      this.#world.violate(
        'TS-1',
        `${describe(transaction)} was stamped ${at}, ${transaction.begunAfter} had been given out before`,
      )
    }
    if (at <= transaction.low || at > transaction.high) {
      this.#world.violate(
        'VIEW-1',
        `${describe(transaction)} was stamped ${at}, reads say it lies in (${transaction.low}, ${transaction.high}]`,
      )
    }
    transaction.status = 'committed'
    transaction.low = at
    transaction.high = at
    if (at > this.newestKnown) this.newestKnown = at
    for (const version of transaction.deletes) {
      for (const other of version.deleters) {
        if (other !== transaction && other.status === 'committed') {
          this.#world.violate(
            'SI-1',
            `${describe(transaction)} and ${describe(other)} both replaced ${show(version)}`,
          )
        }
      }
    }
  }

  aborted(transaction: Transaction): void {
    if (transaction.high !== Number.POSITIVE_INFINITY) {
      this.#world.violate(
        'TXN-1',
        `${describe(transaction)} was seen, and its client told that it failed`,
      )
    }
    transaction.status = 'aborted'
  }

  /** A timestamp was given out. */
  noteTimestamp(at: number): void {
    if (at > this.newestKnown) this.newestKnown = at
  }

  notePastRead(readAt: Timestamp): void {
    this.#pastReads.push({ readAt, atMs: this.#world.nowMs })
  }

  /** One that every node still must be able to read at. */
  pastRead(random: Random): Timestamp | undefined {
    const { nowMs } = this.#world
    while ((this.#pastReads[0]?.atMs ?? nowMs) < nowMs - pastMsMax) this.#pastReads.shift()
    return this.#pastReads.length === 0 ? undefined : random.pick(this.#pastReads).readAt
  }

  /** Judges a snapshot, and learns from it about transactions without an answer. */
  judge(snapshot: Snapshot): void {
    new Judgement(this.#world, snapshot, this.#byTable, this.#truncates, this.#versions).run()
  }

  /** Committed versions that must be there when nothing is under way any more: for messages. */
  get unknownCount(): number {
    return this.transactions.filter(
      ({ status, high }) => status === 'unknown' && high === Number.POSITIVE_INFINITY,
    ).length
  }
}

class Judgement {
  readonly #world: World
  readonly #snapshot: Snapshot
  readonly #byTable: ReadonlyMap<number, readonly Version[]>
  readonly #truncates: readonly Transaction[]
  readonly #versions: ReadonlyMap<number, Version>
  readonly #found = new Map<Transaction, Verdict>()
  readonly #seen = new Set<number>()
  #learned = false

  constructor(
    world: World,
    snapshot: Snapshot,
    byTable: ReadonlyMap<number, readonly Version[]>,
    truncates: readonly Transaction[],
    versions: ReadonlyMap<number, Version>,
  ) {
    this.#world = world
    this.#snapshot = snapshot
    this.#byTable = byTable
    this.#truncates = truncates
    this.#versions = versions
  }

  run(): void {
    const { tables, readAt } = this.#snapshot
    this.#tagsSeen()
    const seen = this.#seen
    do {
      this.#learned = false
      for (const tableId of tables.keys()) {
        for (const version of this.#byTable.get(tableId) ?? []) {
          if (this.#world.violation !== undefined) return
          if (seen.has(version.tag)) this.#mustBeVisible(version)
          else this.#mustBeHidden(version)
        }
      }
    } while (this.#learned)
    for (const [transaction, verdict] of this.#found) {
      if (verdict === 'in') transaction.high = Math.min(transaction.high, readAt)
      else transaction.low = Math.max(transaction.low, readAt)
    }
  }

  /** Rows one by one: known, not twice. */
  #tagsSeen(): void {
    const { tables } = this.#snapshot
    const seen = this.#seen
    for (const [tableId, rows] of tables) {
      for (const row of rows) {
        const version = this.#versions.get(row.tag)
        if (
          version === undefined ||
          version.tableId !== tableId ||
          version.id !== row.id ||
          version.value !== row.value
        ) {
          this.#violate('VIEW-1', `nobody wrote ${JSON.stringify(row)} to ${tableId}`)
        }
        if (seen.has(row.tag))
          this.#violate('SEG-2', `row version ${JSON.stringify(row)} of ${tableId} is there twice`)
        seen.add(row.tag)
      }
    }
  }

  #isExpired({ tableId, value }: Version): boolean {
    return isExpired(tableId, value, this.#snapshot.readAt)
  }

  /** Something of it. */
  #isSeen({ inserts }: Transaction): boolean {
    return inserts.some(({ tag }) => this.#seen.has(tag))
  }

  #isMissing({ inserts, deletes }: Transaction): boolean {
    return (
      deletes.some(({ tag }) => this.#seen.has(tag)) ||
      inserts.some(({ tag, deleters }) => deleters.length === 0 && !this.#seen.has(tag))
    )
  }

  #mustBeVisible(version: Version): void {
    if (this.#isExpired(version)) {
      this.#violate('VIEW-1', `${show(version)} is seen, which has expired`)
      return
    }
    this.#decide(version.by, 'in', () => `${show(version)} is seen`)
    for (const deleter of version.deleters) {
      this.#decide(deleter, 'out', () => `${show(version)} is seen, which it deletes`)
    }
    for (const truncate of this.#truncatesOf(version)) {
      if (isBefore(version.by, truncate)) {
        this.#decide(truncate, 'out', () => `${show(version)} is seen, which it truncates`)
      }
    }
  }

  #mustBeHidden(version: Version): void {
    const inserted = this.#verdictOf(version.by)
    if (inserted === 'out' || this.#isExpired(version)) return
    const hiders = [
      ...version.deleters,
      ...this.#truncatesOf(version).filter((truncate) => !isBefore(truncate, version.by)),
    ].filter((hider) => this.#verdictOf(hider) !== 'out')
    const [only] = hiders
    if (only === undefined) {
      if (inserted === 'in') {
        const isPartly = this.#isSeen(version.by)
        this.#violate(
          isPartly ? 'TXN-1' : 'VIEW-1',
          `${show(version)} is not seen, and nobody deleted it`,
        )
        return
      }
      this.#decide(version.by, 'out', () => `${show(version)} is not seen`)
      return
    }
    if (inserted !== 'in' || hiders.length > 1) return
    // A truncate hides it only if it is later: otherwise nothing is known.
    if (version.deleters.includes(only) || isBefore(version.by, only)) {
      this.#decide(only, 'in', () => `${show(version)} is gone`)
    }
  }

  #truncatesOf({ tableId, by }: Version): readonly Transaction[] {
    if (this.#truncates.length === 0) return []
    return this.#truncates.filter(
      (truncate) => truncate !== by && truncate.truncates.includes(tableId),
    )
  }

  #verdictOf(transaction: Transaction): Verdict | undefined {
    const { readAt } = this.#snapshot
    if (transaction.status === 'aborted') return 'out'
    if (transaction.high <= readAt) return 'in'
    if (transaction.low >= readAt) return 'out'
    return this.#found.get(transaction)
  }

  #decide(transaction: Transaction, verdict: Verdict, why: () => string): void {
    const before = this.#verdictOf(transaction)
    if (before === verdict) return
    if (before === undefined) {
      this.#found.set(transaction, verdict)
      this.#learned = true
      return
    }
    const isPartly = this.#isSeen(transaction) && this.#isMissing(transaction)
    const name = isPartly ? 'TXN-1' : 'VIEW-1'
    const must = before === 'in' ? 'must be' : 'must not be'
    this.#violate(name, `${describe(transaction)} ${must} in the snapshot: ${why()}`)
  }

  #violate(name: string, message: string): void {
    const { who, readAt } = this.#snapshot
    this.#world.violate(name, `${who} reading at ${readAt}: ${message}`)
  }
}

/** Certainly. */
function isBefore(a: Transaction, b: Transaction): boolean {
  return a.high <= b.low
}

export function describe({ number, who, status, low, high }: Transaction): string {
  const when = low === high ? `at ${low}` : `in (${low}, ${high}]`
  return `transaction ${number} of ${who} (${status} ${when})`
}

function show({ tableId, id, value, tag, by }: Version): string {
  return `row ${id}=${value} (tag ${tag}) of table ${tableId}, written by ${describe(by)},`
}

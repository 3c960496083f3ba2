/**
 * Judges the bank's part of a history by plain bookkeeping:
 *
 * - TOTAL: every snapshot shows the same sum over all accounts, legs that add up to nothing, and as many legs as the
 *   transfers say;
 * - LOST: a transfer that was acknowledged is in every later audit;
 * - UNDONE: a transfer that was refused is in none;
 * - HALF: a transfer that is there has exactly the legs it was asked for, and the balances are the initial ones
 *   and the legs, to the last unit;
 * - SETTLED: what an audit after a restart showed, or did not show, stays so.
 */
import type { Audit, HistoryEvent, Leg } from './recorder.js'

export interface Bank {
  readonly accountCount: number
  readonly initialBalance: number
}

export interface BankVerdict {
  readonly violations: readonly string[]
  readonly transfers: { readonly ok: number; readonly fail: number; readonly unknown: number }
  readonly unknownThatHappened: number
  readonly snapshots: number
  readonly audits: number
}

type Fate = 'asked' | 'ok' | 'fail' | 'unknown' | 'present' | 'absent'

export function checkBank(history: Iterable<HistoryEvent>, bank: Bank): BankVerdict {
  const checker = new BankChecker(bank)
  for (const event of history) checker.see(event)
  return checker.verdict()
}

class BankChecker {
  readonly #bank: Bank
  readonly #violations: string[] = []
  readonly #fates = new Map<number, Fate>()
  readonly #legs = new Map<number, readonly Leg[]>()
  readonly #balances: Map<number, number>
  /** Not in an audit yet. */
  readonly #open = new Set<number>()
  #presentCount = 0
  #legCount = 0
  readonly #counts = { ok: 0, fail: 0, unknown: 0 }
  #unknownThatHappened = 0
  #snapshots = 0
  #audits = 0

  constructor(bank: Bank) {
    this.#bank = bank
    this.#balances = new Map(
      Array.from({ length: bank.accountCount }, (_, i) => [i + 1, bank.initialBalance]),
    )
  }

  see(event: HistoryEvent): void {
    if (event.f === 'transfer') this.#seeTransfer(event)
    else if (event.f === 'total' && event.type === 'ok') this.#seeTotals(event)
    else if (event.f === 'audit' && event.type === 'ok' && event.value !== null)
      this.#seeAudit(event.index, event.value)
  }

  verdict(): BankVerdict {
    if (this.#open.size > 0 && this.#audits > 0)
      this.#violations.push(`${this.#open.size} transfers came after the last audit`)
    return {
      violations: this.#violations,
      transfers: this.#counts,
      unknownThatHappened: this.#unknownThatHappened,
      snapshots: this.#snapshots,
      audits: this.#audits,
    }
  }

  #seeTransfer(event: HistoryEvent & { f: 'transfer' }): void {
    const { id, legs } = event.value
    if (event.type === 'invoke') {
      this.#fates.set(id, 'asked')
      this.#legs.set(id, legs)
      this.#open.add(id)
      return
    }
    const fate = event.type === 'info' ? 'unknown' : event.type
    this.#counts[fate] += 1
    this.#fates.set(id, fate)
  }

  #seeTotals(event: HistoryEvent & { f: 'total' }): void {
    const { accountCount, initialBalance } = this.#bank
    for (const totals of event.value) {
      this.#snapshots += 1
      const wrong: string[] = []
      if (totals.accounts !== accountCount) wrong.push(`${totals.accounts} accounts`)
      if (totals.balance !== accountCount * initialBalance)
        wrong.push(`a total of ${totals.balance}`)
      if (totals.delta !== undefined && totals.delta !== 0)
        wrong.push(`legs that add up to ${totals.delta}`)
      if (totals.legsSaid !== totals.legsFound)
        wrong.push(`${totals.legsFound} legs of ${totals.legsSaid}`)
      if (wrong.length > 0)
        this.#violations.push(`TOTAL: a snapshot at ${event.index} shows ${wrong.join(', ')}`)
    }
  }

  #seeAudit(index: number, audit: Audit): void {
    this.#audits += 1
    const say = (name: string, what: string): void => {
      this.#violations.push(`${name}: the audit at ${index}: ${what}`)
    }
    const legsFound = new Map<number, Leg[]>()
    for (const [transfer, account, delta] of audit.legs) {
      const legs = legsFound.get(transfer)
      if (legs === undefined) legsFound.set(transfer, [[account, delta]])
      else legs.push([account, delta])
    }
    const present = new Map(audit.transfers)
    if (present.size !== audit.transfers.length) say('HALF', 'a transfer is there twice')
    for (const transfer of legsFound.keys())
      if (!present.has(transfer)) say('HALF', `transfer ${transfer} has legs only`)
    for (const [transfer, legCount] of present) {
      const asked = this.#legs.get(transfer)
      if (asked === undefined) say('UNDONE', `nobody asked for transfer ${transfer}`)
      else if (sorted(asked) !== sorted(legsFound.get(transfer) ?? []) || asked.length !== legCount)
        say(
          'HALF',
          `transfer ${transfer} has the legs ${sorted(legsFound.get(transfer) ?? [])}, not ${sorted(asked)}`,
        )
    }
    this.#settle(audit, present, say)
    for (const [account, balance] of audit.balances) {
      const expected = this.#balances.get(account)
      if (balance !== expected) say('HALF', `account ${account} has ${balance}, not ${expected}`)
    }
    if (audit.balances.length !== this.#bank.accountCount)
      say('HALF', `${audit.balances.length} accounts`)
    if (audit.transferCount !== this.#presentCount)
      say('LOST', `${audit.transferCount} transfers in all, not ${this.#presentCount}`)
    if (audit.legCount !== this.#legCount)
      say('LOST', `${audit.legCount} legs in all, not ${this.#legCount}`)
  }

  #settle(
    audit: Audit,
    present: ReadonlyMap<number, number>,
    say: (name: string, what: string) => void,
  ): void {
    for (const [id, fate] of this.#fates) {
      if (id < audit.from) continue
      const isThere = present.has(id)
      if (isThere && (fate === 'fail' || fate === 'absent'))
        say(fate === 'fail' ? 'UNDONE' : 'SETTLED', `transfer ${id} is there, it was ${fate}`)
      if (!isThere && (fate === 'ok' || fate === 'present'))
        say(fate === 'ok' ? 'LOST' : 'SETTLED', `transfer ${id} is not there, it was ${fate}`)
      if (isThere && this.#open.has(id)) {
        if (fate === 'unknown' || fate === 'asked') this.#unknownThatHappened += 1
        const legs = this.#legs.get(id) ?? []
        for (const [account, delta] of legs)
          this.#balances.set(account, (this.#balances.get(account) ?? 0) + delta)
        this.#presentCount += 1
        this.#legCount += legs.length
      }
      this.#open.delete(id)
      this.#fates.set(id, isThere ? 'present' : 'absent')
    }
  }
}

function sorted(legs: readonly Leg[]): string {
  return JSON.stringify([...legs].sort((a, b) => a[0] - b[0]))
}

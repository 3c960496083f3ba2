import { describe, expect, test } from 'vitest'
import { checkBank } from './check-bank.js'
import type { Audit, HistoryEvent, Leg, Operation } from './recorder.js'

const bank = { accountCount: 2, initialBalance: 100 }

class Script {
  readonly events: HistoryEvent[] = []

  add(type: HistoryEvent['type'], operation: Operation): this {
    const index = this.events.length
    this.events.push({ index, time: index, process: 1, type, ...operation })
    return this
  }

  transfer(id: number, outcome: 'ok' | 'fail' | 'info' | undefined, amount = 5): this {
    const operation: Operation = { f: 'transfer', value: { id, legs: legs(amount) } }
    this.add('invoke', operation)
    return outcome === undefined ? this : this.add(outcome, operation)
  }

  audit(ids: readonly number[], changed: Partial<Audit> = {}, amount = 5): this {
    return this.add('ok', {
      f: 'audit',
      value: {
        from: 1,
        transfers: ids.map((id) => [id, 2]),
        legs: ids.flatMap((id) =>
          legs(amount).map(([account, delta]) => [id, account, delta] as const),
        ),
        balances: [
          [1, 100 - ids.length * amount],
          [2, 100 + ids.length * amount],
        ],
        transferCount: ids.length,
        legCount: ids.length * 2,
        ...changed,
      },
    })
  }

  names(): string[] {
    return checkBank(this.events, bank).violations.map((violation) => violation.split(':')[0] ?? '')
  }
}

const legs = (amount: number): Leg[] => [
  [1, -amount],
  [2, amount],
]

test('what was acknowledged, refused or unknown and is found so is right', () => {
  const script = new Script()
    .transfer(1, 'ok')
    .transfer(2, 'fail')
    .transfer(3, 'info')
    .transfer(4, 'info')
  const { violations, unknownThatHappened } = checkBank(
    script.audit([1, 3]).add('ok', {
      f: 'total',
      value: [{ balance: 200, accounts: 2, delta: 0, legsSaid: 4, legsFound: 4 }],
    }).events,
    bank,
  )
  expect(violations).toEqual([])
  expect(unknownThatHappened).toBe(1)
})

describe('planted', () => {
  test('a total that is not constant', () => {
    const total: Operation = { f: 'total', value: [{ balance: 195, accounts: 2 }] }
    expect(new Script().add('ok', total).names()).toEqual(['TOTAL'])
  })
  test('a snapshot with half of the legs', () => {
    const total: Operation = {
      f: 'total',
      value: [{ balance: 200, accounts: 2, delta: -5, legsSaid: 2, legsFound: 1 }],
    }
    expect(new Script().add('ok', total).names()).toEqual(['TOTAL'])
  })
  test('an acknowledged transfer that is lost', () => {
    expect(new Script().transfer(1, 'ok').audit([]).names()).toEqual(['LOST'])
  })
  test('a refused transfer that is there', () => {
    expect(new Script().transfer(1, 'fail').audit([1]).names()).toEqual(['UNDONE'])
  })
  test('a transfer without one of its legs', () => {
    const script = new Script().transfer(1, 'info').audit([1], { legs: [[1, 1, -5]], legCount: 1 })
    expect(script.names()).toEqual(['HALF', 'LOST'])
  })
  test('legs without their transfer', () => {
    const script = new Script().transfer(1, 'info').audit([], { legs: [[1, 1, -5]], legCount: 1 })
    expect(script.names()).toEqual(['HALF', 'LOST'])
  })
  test('a lost update: the balances are not the sum of the legs', () => {
    const script = new Script()
      .transfer(1, 'ok')
      .transfer(2, 'ok')
      .audit([1, 2], {
        balances: [
          [1, 95],
          [2, 105],
        ],
      })
    expect(script.names()).toEqual(['HALF', 'HALF'])
  })
  test('a transfer that an audit missed and a later one finds', () => {
    expect(new Script().transfer(1, 'info').audit([]).audit([1]).names()).toContain('SETTLED')
  })
  test('a transfer that an audit found and a later one misses', () => {
    expect(new Script().transfer(1, 'info').audit([1]).audit([]).names()).toContain('SETTLED')
  })
})

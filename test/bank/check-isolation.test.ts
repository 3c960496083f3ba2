/** The checker is not ours: that it finds what it must find, as we hand histories to it, is tested here. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { checkIsolation, type Level, prepareChecker } from './check-isolation.js'
import type { HistoryEvent, ListStep, Operation } from './recorder.js'

const missing = prepareChecker()
const folder = mkdtempSync(join(tmpdir(), 'elanus-checker-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Transaction {
  /** Lines at which it is invoked and completed: who overlaps whom. */
  readonly from: number
  readonly to: number
  readonly steps: readonly ListStep[]
  readonly type?: 'ok' | 'fail' | 'info'
}

function anomalies(
  transactions: readonly Transaction[],
  level: Level = 'snapshot',
): readonly string[] | 'valid' {
  const lines: (Operation & { at: number; process: number; type: HistoryEvent['type'] })[] = []
  for (const [process, { from, to, steps, type = 'ok' }] of transactions.entries()) {
    const planned = steps.map((step): ListStep => (step[0] === 'r' ? ['r', step[1], null] : step))
    lines.push({ at: from, f: 'lists', level, process, type: 'invoke', value: planned })
    lines.push({ at: to, f: 'lists', level, process, type, value: steps })
  }
  lines.sort((a, b) => a.at - b.at)
  const history = lines.map(
    (line, index) => ({ ...line, index, time: index * 1000 }) as HistoryEvent,
  )
  const verdict = checkIsolation(history, level, join(folder, 'planted.jsonl'))
  if (verdict.verdict === 'valid') return 'valid'
  expect(verdict.anomalies, verdict.report).not.toEqual([])
  return verdict.anomalies
}

describe.skipIf(missing !== undefined)('the isolation checker', () => {
  test('accepts one transaction after the other', () => {
    expect(
      anomalies([
        { from: 0, to: 1, steps: [['append', 1, 1]] },
        {
          from: 2,
          to: 3,
          steps: [
            ['r', 1, [1]],
            ['append', 1, 2],
          ],
        },
        { from: 4, to: 5, steps: [['r', 1, [1, 2]]] },
      ]),
    ).toBe('valid')
  })
  test('accepts write skew, which snapshot isolation allows', () => {
    expect(
      anomalies([
        {
          from: 0,
          to: 10,
          steps: [
            ['r', 1, []],
            ['append', 2, 1],
          ],
        },
        {
          from: 1,
          to: 9,
          steps: [
            ['r', 2, []],
            ['append', 1, 1],
          ],
        },
        {
          from: 11,
          to: 12,
          steps: [
            ['r', 1, [1]],
            ['r', 2, [1]],
          ],
        },
      ]),
    ).toBe('valid')
  })
  test('finds a lost update', () => {
    expect(
      anomalies([
        {
          from: 0,
          to: 10,
          steps: [
            ['r', 1, []],
            ['append', 1, 1],
          ],
        },
        {
          from: 1,
          to: 9,
          steps: [
            ['r', 1, []],
            ['append', 1, 2],
          ],
        },
        { from: 11, to: 12, steps: [['r', 1, [1, 2]]] },
      ]),
    ).toContain('lost-update')
  })
  test('finds a fractured read: half of a transaction is seen', () => {
    expect(
      anomalies([
        {
          from: 0,
          to: 10,
          steps: [
            ['append', 1, 1],
            ['append', 2, 1],
          ],
        },
        {
          from: 1,
          to: 9,
          steps: [
            ['r', 1, [1]],
            ['r', 2, []],
          ],
        },
        {
          from: 11,
          to: 12,
          steps: [
            ['r', 1, [1]],
            ['r', 2, [1]],
          ],
        },
      ]),
    ).toContain('G-single-item')
  })
  test('finds two snapshots that disagree about the order of two commits (long fork)', () => {
    expect(
      anomalies([
        { from: 0, to: 10, steps: [['append', 1, 1]] },
        { from: 1, to: 11, steps: [['append', 2, 1]] },
        {
          from: 2,
          to: 12,
          steps: [
            ['r', 1, [1]],
            ['r', 2, []],
          ],
        },
        {
          from: 3,
          to: 13,
          steps: [
            ['r', 1, []],
            ['r', 2, [1]],
          ],
        },
        {
          from: 14,
          to: 15,
          steps: [
            ['r', 1, [1]],
            ['r', 2, [1]],
          ],
        },
      ]),
    ).toContain('G-nonadjacent-item')
  })
  for (const level of ['snapshot', 'committed'] as const) {
    test(`finds a circle of information (G1c), ${level}`, () => {
      expect(
        anomalies(
          [
            {
              from: 0,
              to: 10,
              steps: [
                ['append', 1, 1],
                ['r', 2, [1]],
              ],
            },
            {
              from: 1,
              to: 9,
              steps: [
                ['append', 2, 1],
                ['r', 1, [1]],
              ],
            },
          ],
          level,
        ),
      ).toContain('G1c')
    })
    test(`finds a read of what was rolled back (G1a), ${level}`, () => {
      expect(
        anomalies(
          [
            { from: 0, to: 10, steps: [['append', 1, 1]], type: 'fail' },
            { from: 1, to: 9, steps: [['r', 1, [1]]] },
          ],
          level,
        ),
      ).toContain('G1a')
    })
    test(`finds a read of an intermediate state (G1b), ${level}`, () => {
      expect(
        anomalies(
          [
            {
              from: 0,
              to: 10,
              steps: [
                ['append', 1, 1],
                ['append', 1, 2],
              ],
            },
            { from: 1, to: 9, steps: [['r', 1, [1]]] },
            { from: 11, to: 12, steps: [['r', 1, [1, 2]]] },
          ],
          level,
        ),
      ).toContain('G1b')
    })
  }
  test('finds an acknowledged append that a later transaction does not see', () => {
    expect(
      anomalies([
        { from: 0, to: 1, steps: [['append', 1, 1]] },
        { from: 2, to: 3, steps: [['r', 1, []]] },
        { from: 4, to: 5, steps: [['r', 1, [1]]] },
      ]),
    ).toContain('G-single-item-realtime')
  })
  test('accepts an unknown transaction whether it happened or not', () => {
    const unknown: Transaction = { from: 0, to: 1, steps: [['append', 1, 1]], type: 'info' }
    expect(
      anomalies([
        unknown,
        {
          from: 2,
          to: 3,
          steps: [
            ['r', 1, [1]],
            ['append', 1, 2],
          ],
        },
      ]),
    ).toBe('valid')
    expect(
      anomalies([
        unknown,
        {
          from: 2,
          to: 3,
          steps: [
            ['r', 1, []],
            ['append', 1, 2],
          ],
        },
        { from: 4, to: 5, steps: [['r', 1, [2]]] },
      ]),
    ).toBe('valid')
  })
})

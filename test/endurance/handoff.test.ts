import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runHandoff } from './handoff.js'
import { judge } from './model.js'

const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)

test(`no duplicate, no gap, recall unchanged while segments change hands (seed ${seed})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'elanus-endurance-'))
  try {
    const report = await runHandoff({ seconds: 10, seed, shards: 2, data: join(folder, 'data') })
    expect(report.recallMin).toBeGreaterThanOrEqual(0.95)
    const { recall, recallMin, refused, ...counts } = report
    expect(Object.entries(counts).filter(([, count]) => count === 0)).toEqual([])
    expect(refused).toBeLessThan(report.scans + report.lookups + report.searches)
    expect(recall).toBeGreaterThanOrEqual(recallMin)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('what is wrong is seen', () => {
  const watch = { expected: new Map([[1, 1]]), touched: new Set([2]) }
  const one = { id: 1, version: 1 }
  expect(() => judge('x', [one, { id: 2, version: 7 }], watch)).not.toThrow()
  expect(() => judge('x', [one, one], watch)).toThrow('row 1 comes twice')
  expect(() => judge('x', [], watch)).toThrow('row 1 is missing')
  expect(() => judge('x', [{ id: 1, version: 2 }], watch)).toThrow('version 2, not 1')
  expect(() => judge('x', [one, { id: 3, version: 1 }], watch)).toThrow('row 3')
})

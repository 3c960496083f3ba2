import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { GraphUse, readPlan } from './graphs.js'
import { runHandoff } from './handoff.js'
import { judge } from './model.js'

const seed = Number(process.env['ELANUS_TEST_SEED'] ?? Date.now() % 1_000_000)

test(`no duplicate, no gap, recall unchanged while segments change hands (seed ${seed})`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'elanus-endurance-'))
  try {
    const report = await runHandoff({
      seconds: 10,
      seed,
      shards: 2,
      data: join(folder, 'data'),
      growMs: 1000,
    })
    expect(report.recallMin).toBeGreaterThanOrEqual(0.95)
    // Segments are too small for graphs in ten seconds: run.ts insists on them.
    const { refused, scans, lookups, searches, jobs, segments, inserted, updated, deleted } = report
    const counts = { scans, lookups, searches, jobs, segments, inserted, updated, deleted }
    expect(Object.entries(counts).filter(([, count]) => count === 0)).toEqual([])
    expect(refused).toBeLessThan(report.scans + report.lookups + report.searches)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('EXPLAIN tells which rows a graph led to', () => {
  const plan = {
    'Node Type': 'Vector Search using hnsw',
    Plans: [
      {
        'Node Type': 'Segment Search on docs',
        'Segment 3': 'shard 0, growing, rows 3000, passing 3000, strategy index, visited 400',
        'Segment 4': 'shard 1, growing, rows 10, passing 10, strategy exact, visited 10',
        'Segment 1': 'sealed, rows 500, passing 400, strategy exact, visited 400',
        'Segment 2': 'sealed, rows 700, passing 700, strategy index, visited 90',
      },
    ],
  }
  const looked = readPlan(plan)
  expect(looked).toEqual({
    growingRows: 3010,
    sealedRows: 1200,
    growingByGraph: 3000,
    sealedByGraph: 700,
  })
  const use = new GraphUse()
  expect(use.note(looked)).toBe(true)
  expect(use.note({ ...looked, growingByGraph: 0 })).toBe(false)
  expect([use.searches, use.growing, use.sealed]).toEqual([1, 1, 2])
  expect(use.share).toBeCloseTo((3700 + 700) / 8420)
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

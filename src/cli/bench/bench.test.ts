import { expect, test } from 'vitest'
import { atRecall } from '#cli/bench/at-recall.js'
import { drawRecall } from '#cli/bench/draw-figures.js'
import { type BenchFigures, quantile, type SearchFigures } from '#cli/bench/figures.js'
import { computeTruth } from '#cli/bench/ground-truth.js'
import { readBenchOptions } from '#cli/bench/options.js'
import { ConfigError } from '#config.js'

function point(recall: number, queriesPerSecond: number): SearchFigures {
  return {
    target: 'a <b>',
    condition: 'no condition',
    share: 1,
    connections: 1,
    efSearch: 40,
    recall,
    queriesAnswered: 10,
    fewestRows: 10,
    queriesPerSecond,
    p50Ms: 1000 / queriesPerSecond,
    p99Ms: 2000 / queriesPerSecond,
    roundsQueriesPerSecond: [queriesPerSecond],
  }
}

test('servers are compared at exactly the recall asked for', () => {
  const points = [point(0.96, 100), point(0.9, 400), point(0.99, 20)]
  expect(atRecall(points, 0.93)?.queriesPerSecond).toBeCloseTo(200)
  expect(atRecall(points, 0.93)?.p50Ms).toBeCloseTo(5)
  expect(atRecall(points, 0.5)?.queriesPerSecond).toBe(400)
  expect(atRecall(points, 0.995)).toBeUndefined()
})

test('quantiles are by nearest rank', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i)
  expect(quantile(values, 0.99)).toBe(100)
  expect(quantile(values, 0.5)).toBe(51)
  expect(quantile([7], 0.99)).toBe(7)
})

test('the ground truth is by cosine, nearest first, of the rows that the condition keeps', () => {
  const words = {
    rowCount: 4,
    dimensions: 2,
    words: ['a', 'b', 'c', 'd'],
    categoryOf: ['x', 'x', 'x', 'y'],
    rankOf: Uint32Array.of(1, 2, 3, 4),
    // Long but off, short and near, opposite, the same direction.
    vectors: Float32Array.of(100, 100, 0.1, 0.001, -1, 0, 5, 0),
    queries: Float32Array.of(1, 0),
    queryCount: 1,
  }
  const every = { sql: '', label: 'all', share: 1, keeps: () => true }
  expect(computeTruth(words, every, 1, 3)).toEqual([[4, 2, 1]])
  const some = { ...every, keeps: (row: number) => words.categoryOf[row] === 'x' }
  expect(computeTruth(words, some, 1, 10)).toEqual([[2, 1, 3]])
})

test('the picture has a point per measurement and no raw markup of names', () => {
  const figures: BenchFigures = {
    startedAt: '2026-11-21T00:00:00Z',
    machine: 'm',
    versions: {},
    rowCount: 1,
    dimensions: 1,
    m: 16,
    efConstruction: 200,
    k: 10,
    loads: [],
    searches: [point(0.9, 400), point(0.96, 100)],
  }
  const picture = drawRecall(figures, ['a <b>'])
  expect(picture.match(/<circle/g)).toHaveLength(2)
  expect(picture).toContain('a &lt;b&gt;')
  expect(picture).not.toMatch(/NaN|undefined|Infinity/)
})

test('targets need a name and a connection string', () => {
  const options = readBenchOptions([
    '--target',
    'a=postgres://u@h:1/d',
    '--filters',
    'none',
    '--ef=10',
  ])
  if (typeof options === 'string') throw new Error('expected options')
  expect(options.targets).toEqual([{ name: 'a', url: 'postgres://u@h:1/d' }])
  expect([options.filterShares, options.searchWidths]).toEqual([[], [10]])
  expect(() => readBenchOptions(['--target', 'postgres://h/d'])).toThrow(ConfigError)
  expect(() => readBenchOptions(['--seconds', 'many'])).toThrow('--seconds: "many" is not a number')
})

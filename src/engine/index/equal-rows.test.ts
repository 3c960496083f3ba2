/** Rows with byte-equal vectors: one node of the graph, however many they are. Judged by exact search over the same rows. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import type { Metric } from '#engine/columnar/schema.js'
import { metrics, randomFloats, randomVectors } from './native.arbitrary.js'
import { type NativeIndex, type NativeSegment, native, type SearchRequest } from './native.js'

const directory = mkdtempSync(join(tmpdir(), 'elanus-equal-'))
afterAll(() => rmSync(directory, { recursive: true }))

const dimensions = 16
const attnum = 1
type Kind = 'built' | 'interim' | 'copied'
const kinds: readonly Kind[] = ['built', 'interim', 'copied']

interface Data {
  readonly rowCount: number
  readonly values: Float32Array
  /** Row → number of its vector. */
  readonly drawn: Int32Array
}

/** Rows that draw from `distinct` vectors, some of them much oftener than others when `isSkewed`. */
function dataOf(rowCount: number, distinct: number, seed: number, isSkewed = false): Data {
  const base = randomVectors(distinct, dimensions, seed)
  const random = randomFloats(seed + 1)
  const values = new Float32Array(rowCount * dimensions)
  const drawn = Int32Array.from({ length: rowCount }, (_, row) => {
    if (distinct >= rowCount) return row
    const draw = random()
    return Math.floor((isSkewed ? draw ** 4 : draw) * distinct)
  })
  drawn.forEach((vector, row) => {
    const at = vector * dimensions
    values.set(base.subarray(at, at + dimensions), row * dimensions)
  })
  return { rowCount, values, drawn }
}

async function build(kind: Kind, metric: Metric, data: Data, m = 8, efConstruction = 40) {
  const { rowCount, values } = data
  const segment = native.createSegment()
  segment.setColumn(attnum, { kind: 'vector', dimensions, length: rowCount, values })
  let index: NativeIndex | undefined
  if (kind === 'built') {
    const graph = { metric, m, efConstruction, threads: 2 }
    index = await native.buildHnsw({ values, rowCount, dimensions, ...graph })
  } else {
    const interim = native.createInterim({ dimensions, metric, m, efConstruction })
    for (const part of [0.1, 0.5, 1])
      await interim.extend(segment, attnum, Math.floor(rowCount * part))
    if (kind === 'interim') segment.setInterim(attnum, 5, interim)
    else index = await interim.copy()
  }
  if (index !== undefined) segment.setIndex(attnum, 5, index)
  const deleted = new Float64Array(rowCount).fill(Number.POSITIVE_INFINITY)
  segment.setTimestamps(new Float64Array(rowCount), deleted, kind !== 'interim')
  return { segment, index, deleted }
}

function bits(rowCount: number, passes: (row: number) => boolean): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(rowCount / 8))
  for (let row = 0; row < rowCount; row++)
    if (passes(row)) bytes[row >> 3] = (bytes[row >> 3] ?? 0) | (1 << (row & 7))
  return bytes
}

/** Searches by the graph and exactly. @returns the share of hits that are as near as the exact ones, and how it was found */
async function compare(data: Data, request: SearchRequest) {
  const got = await native.search(request)
  const exact = await native.search({ ...request, mode: 'exact' })
  expect(got.count).toBe(exact.count)
  const { ordinals, distances } = got
  expect(new Set(ordinals).size).toBe(got.count)
  const allowed = request.segments[0]?.allowed
  for (let i = 0; i < got.count; i++) {
    const row = ordinals[i] ?? 0
    if (allowed !== undefined) expect((allowed[row >> 3] ?? 0) & (1 << (row & 7))).not.toBe(0)
    const vector = data.values.subarray(row * dimensions, (row + 1) * dimensions)
    expect(distances[i]).toBe(native.distance(request.metric, request.query, vector))
    const isAfter = i === 0 || (distances[i] ?? 0) > (distances[i - 1] ?? 0)
    expect(isAfter || row > (ordinals[i - 1] ?? 0)).toBe(true)
  }
  // Of a vector that both found, the rows are the same: its first ones that may be returned.
  const rowsOf = (found: typeof got, vector: number) =>
    [...found.ordinals].filter((row) => data.drawn[row] === vector)
  const last = data.drawn[ordinals[got.count - 1] ?? 0] ?? -1
  for (const vector of new Set([...ordinals].map((row) => data.drawn[row] ?? -1))) {
    const wanted = rowsOf(exact, vector)
    const hits = rowsOf(got, vector)
    if (vector !== last) expect(hits.slice(0, wanted.length)).toEqual(wanted)
    else expect(hits.slice(0, wanted.length)).toEqual(wanted.slice(0, hits.length))
  }
  const worst = exact.distances[exact.count - 1] ?? 0
  const near = [...distances].filter((distance) => distance <= worst).length
  return { recall: exact.count === 0 ? 1 : near / exact.count, strategy: got.strategies[0] }
}

describe.each(kinds)('%s', (kind) => {
  test('copies cost no recall, with and without a condition', { timeout: 120_000 }, async () => {
    const rowCount = 20_000
    const random = randomFloats(3)
    const shares = Float64Array.from({ length: rowCount }, () => random())
    const recallOf = async (metric: Metric, data: Data, segment: NativeSegment, share: number) => {
      const allowed = share < 1 ? bits(rowCount, (row) => (shares[row] ?? 0) < share) : undefined
      const queries = randomVectors(40, dimensions, 9)
      let [total, walked] = [0, 0]
      for (let i = 0; i < 40; i++) {
        const { recall, strategy } = await compare(data, {
          segments: [{ segment, rowCount, allowed }],
          ...{ readAt: 1, attnum, metric, k: 5, efSearch: 10, mode: 'auto' },
          query: queries.subarray(i * dimensions, (i + 1) * dimensions),
        })
        total += recall
        walked += strategy === 'index' ? 1 : 0
      }
      expect(walked, 'the graph was walked').toBeGreaterThan(20)
      return total / 40
    }
    for (const metric of kind === 'built' ? (['l2', 'cosine'] as const) : (['l2'] as const)) {
      const wanted = new Map<number, number>()
      for (const distinct of [rowCount, 2000, 200, 20]) {
        const data = dataOf(rowCount, distinct, 5)
        const { segment } = await build(kind, metric, data)
        for (const share of [1, 0.7, 0.4]) {
          const recall = await recallOf(metric, data, segment, share)
          if (distinct === rowCount) wanted.set(share, recall)
          const words = `${metric}, ${distinct} vectors, ${share} of the rows`
          expect(recall, words).toBeGreaterThanOrEqual((wanted.get(share) ?? 1) - 0.02)
        }
      }
    }
  })

  test('hits are rows that may be returned, k of them, the first of equal ones', async () => {
    const arbitrary = fc.record({
      metric: fc.constantFrom(...metrics),
      rowCount: fc.integer({ min: 1, max: 6000 }),
      distinct: fc.integer({ min: 1, max: 400 }),
      seed: fc.integer({ min: 0, max: 1e6 }),
      isSkewed: fc.boolean(),
      k: fc.constantFrom(1, 3, 10, 50, 700),
      efSearch: fc.constantFrom(1, 10, 40),
      share: fc.constantFrom(1, 0.9, 0.5, 0.1, 0.01),
      /** The first rows of all chains and others are deleted. */
      deletedShare: fc.constantFrom(0, 0.02, 0.5, 0.99),
    })
    let [total, searches] = [0, 0]
    await fc.assert(
      fc.asyncProperty(arbitrary, async (c) => {
        const { rowCount } = c
        const data = dataOf(rowCount, c.distinct, c.seed, c.isSkewed)
        const { segment, deleted } = await build(kind, c.metric, data)
        deleted.fill(1, 0, Math.floor(rowCount * c.deletedShare))
        segment.setTimestamps(new Float64Array(rowCount), deleted, kind !== 'interim')
        const random = randomFloats(c.seed + 2)
        const allowed = c.share < 1 ? bits(rowCount, () => random() < c.share) : undefined
        const queries = randomVectors(4, dimensions, c.seed + 3)
        for (let i = 0; i < 4; i++) {
          const { recall } = await compare(data, {
            segments: [{ segment, rowCount, allowed }],
            ...{ readAt: 2, attnum, metric: c.metric, k: c.k, efSearch: c.efSearch, mode: 'auto' },
            query: queries.subarray(i * dimensions, (i + 1) * dimensions),
          })
          total += recall
          searches++
        }
      }),
      { numRuns: 60, seed: 1 },
    )
    expect(total / searches).toBeGreaterThan(0.95)
  })

  test('a vector that nearly every row has, and few others', async () => {
    const rowCount = 9000
    const base = randomVectors(30, dimensions, 4)
    const drawn = new Int32Array(rowCount)
    for (let i = 1; i < 30; i++) drawn[i * 300 - 7] = i
    const values = Float32Array.from({ length: rowCount * dimensions }, (_, at) => {
      const row = Math.floor(at / dimensions)
      return base[(drawn[row] ?? 0) * dimensions + (at % dimensions)] ?? 0
    })
    const data = { rowCount, values, drawn }
    const { segment } = await build(kind, 'l2', data)
    for (let i = 0; i < 30; i++)
      for (const isCommonAllowed of [true, false]) {
        const passes = (row: number) => isCommonAllowed || drawn[row] !== 0
        const { recall } = await compare(data, {
          segments: [{ segment, rowCount, allowed: bits(rowCount, passes) }],
          ...{ readAt: 1, attnum, metric: 'l2', k: 10, efSearch: 40, mode: 'auto' },
          query: base.slice(i * dimensions, (i + 1) * dimensions),
        })
        expect(recall).toBe(1)
      }
  })
})

test('chains lie in the file, and answer as in memory; without equal rows it has none', async () => {
  const data = dataOf(8000, 300, 6)
  const { segment, index } = await build('built', 'l2', data)
  const path = join(directory, 'chains.hnsw')
  await index?.save(path)
  const loaded = await native.loadHnsw(path)
  const other = native.createSegment()
  const { values, rowCount } = data
  other.setColumn(attnum, { kind: 'vector', dimensions, length: rowCount, values })
  other.setIndex(attnum, 5, loaded)
  for (let i = 0; i < 20; i++) {
    const request = {
      ...({ readAt: 1, attnum, metric: 'l2', k: 10, efSearch: 10, mode: 'auto' } as const),
      query: randomVectors(1, dimensions, i),
    }
    const wanted = await native.search({ ...request, segments: [{ segment, rowCount }] })
    expect(wanted.strategies).toEqual(['index'])
    const got = await native.search({ ...request, segments: [{ segment: other, rowCount }] })
    expect(got).toEqual(wanted)
  }
  const plain = await build('built', 'l2', dataOf(rowCount, rowCount, 6))
  // A bit and two words per row.
  const section = Math.ceil((rowCount / 8 + 8 * rowCount) / 4096) * 4096
  expect(Math.abs(loaded.memoryBytes - (plain.index?.memoryBytes ?? 0) - section)).toBeLessThan(
    200_000,
  )
})

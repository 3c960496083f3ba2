import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { VectorColumn } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'
import { encodeFilter } from '#engine/plan/filter-program.js'
import { pgDistance, searchFlat } from './flat.js'
import { metrics, randomFloats, randomVectors } from './native.arbitrary.js'
import {
  type NativeIndex,
  type NativeSegment,
  native,
  type SearchRequest,
  type SearchResult,
} from './native.js'

const directory = mkdtempSync(join(tmpdir(), 'elanus-index-'))
afterAll(() => rmSync(directory, { recursive: true }))

const dimensions = 24
const rowCount = 12_000
const vectors = randomVectors(rowCount + 50, dimensions, 1)
const column: VectorColumn = {
  kind: 'vector',
  dimensions,
  length: rowCount,
  values: vectors.slice(0, rowCount * dimensions),
}
const queries = vectors.slice(rowCount * dimensions)
const query = (i: number): Float32Array => queries.subarray(i * dimensions, (i + 1) * dimensions)
/** Row → 0..999, shuffled: conditions keep any share of the rows. */
const random = randomFloats(7)
const shares = Int32Array.from({ length: rowCount }, () => Math.floor(random() * 1000))

let index: NativeIndex
let segment: NativeSegment

function build(
  metric: Metric,
  more: Partial<Parameters<typeof native.buildHnsw>[0]> = {},
): Promise<NativeIndex> {
  return native.buildHnsw({
    values: column.values,
    rowCount,
    dimensions,
    metric,
    m: 8,
    efConstruction: 40,
    threads: 2,
    ...more,
  })
}

function newSegment(from = 0, to = rowCount): NativeSegment {
  const made = native.createSegment()
  made.setColumn(1, {
    ...column,
    length: to - from,
    values: column.values.subarray(from * dimensions, to * dimensions),
  })
  made.setColumn(2, { kind: 'int32', length: to - from, values: shares.subarray(from, to) })
  return made
}

function request(i: number, more: Partial<SearchRequest> = {}): SearchRequest {
  return {
    segments: [{ segment, rowCount }],
    readAt: 1,
    attnum: 1,
    metric: 'l2',
    query: query(i),
    k: 10,
    efSearch: 20,
    mode: 'auto',
    ...more,
  }
}

function keeping(perMille: number): Uint8Array {
  return encodeFilter({ op: 'compare', attnum: 2, comparison: '<', as: 'native', value: perMille })
}

function rows(result: SearchResult): number[] {
  return [...result.ordinals]
}

function recall(result: SearchResult, wanted: { readonly ordinals: Uint32Array }): number {
  const right = new Set(wanted.ordinals)
  return right.size === 0 ? 1 : rows(result).filter((row) => right.has(row)).length / right.size
}

beforeAll(async () => {
  index = await build('l2')
  segment = newSegment()
  segment.setIndex(1, 100, index)
})

test('exact search equals the plain oracle, bit for bit, over any split in segments', async () => {
  const small = fc.constantFrom(0, 1, -1, 0.5, 0.1, 1e-30, 1e18)
  const arbitrary = fc.record({
    dimensions: fc.integer({ min: 1, max: 35 }),
    metric: fc.constantFrom(...metrics),
    rows: fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 3 }),
    k: fc.integer({ min: 0, max: 30 }),
    seed: fc.integer(),
    coarse: fc.boolean(),
    value: fc.array(small, { minLength: 8, maxLength: 8 }),
    nulls: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(arbitrary, async (c) => {
      const draw = randomFloats(c.seed)
      const next = () => (c.coarse ? (c.value[Math.floor(draw() * 8)] ?? 0) : draw() * 2 - 1)
      const parts = c.rows.map(
        (count): VectorColumn => ({
          kind: 'vector',
          dimensions: c.dimensions,
          length: count,
          values: Float32Array.from({ length: count * c.dimensions }, next),
          ...(c.nulls
            ? { validity: Uint8Array.from({ length: Math.ceil(count / 8) }, () => draw() * 256) }
            : {}),
        }),
      )
      const wanted = Float32Array.from({ length: c.dimensions }, next)
      const oracle = searchFlat(
        parts.map((part) => ({ column: part, rowCount: part.length })),
        c.metric,
        wanted,
        c.k,
      )
      const segments = parts.map((part) => {
        const made = native.createSegment()
        made.setColumn(1, part)
        return { segment: made, rowCount: part.length }
      })
      const got = await native.search({
        segments,
        readAt: 0,
        attnum: 1,
        metric: c.metric,
        query: wanted,
        k: c.k,
        efSearch: 40,
        mode: 'exact',
      })
      expect(got.count).toBe(oracle.count)
      expect([...got.segments]).toEqual([...oracle.segments])
      expect([...got.ordinals]).toEqual([...oracle.ordinals])
      expect([...got.distances]).toEqual([...oracle.distances])
    }),
    { numRuns: 400 },
  )
})

test('a big exact scan, split over threads, equals the oracle', async () => {
  for (const metric of metrics) {
    const values = randomVectors(90_000, 16, 3)
    const big: VectorColumn = { kind: 'vector', dimensions: 16, length: 90_000, values }
    const made = native.createSegment()
    made.setColumn(1, big)
    const wanted = values.slice(160, 176)
    const got = await native.search({
      segments: [{ segment: made, rowCount: 90_000 }],
      readAt: 0,
      attnum: 1,
      metric,
      query: wanted,
      k: 20,
      efSearch: 1,
      mode: 'exact',
    })
    const oracle = searchFlat([{ column: big, rowCount: 90_000 }], metric, wanted, 20)
    expect(rows(got)).toEqual([...oracle.ordinals])
    expect([...got.distances]).toEqual([...oracle.distances])
  }
})

test('index search has recall, exact distances, and exactly k hits', async () => {
  for (const metric of metrics) {
    const built = metric === 'l2' ? index : await build(metric)
    const made = newSegment()
    made.setIndex(1, 100, built)
    let total = 0
    for (let i = 0; i < 20; i++) {
      const got = await native.search(
        request(i, { segments: [{ segment: made, rowCount }], metric }),
      )
      expect(got.strategies).toEqual(['index'])
      expect(got.count).toBe(10)
      got.ordinals.forEach((row, at) => {
        expect(got.distances[at]).toBe(
          pgDistance(metric, query(i), column.values, row * dimensions),
        )
      })
      expect([...got.distances]).toEqual([...got.distances].sort((a, b) => a - b))
      total += recall(got, searchFlat([{ column, rowCount }], metric, query(i), 10))
    }
    expect(total / 20, metric).toBeGreaterThan(0.8)
  }
})

test('filters never cost recall and LIMIT k returns k', async () => {
  const unfiltered = await averageRecall(
    () => ({}),
    () => true,
  )
  for (const perMille of [900, 500, 200, 100, 50, 20, 10, 5, 1]) {
    const got = await averageRecall(
      () => ({ filter: keeping(perMille) }),
      (row) => (shares[row] ?? 0) < perMille,
    )
    expect(got, `${perMille} of 1000`).toBeGreaterThanOrEqual(unfiltered - 0.01)
  }

  async function averageRecall(
    more: () => Partial<SearchRequest>,
    passes: (row: number) => boolean,
  ): Promise<number> {
    let total = 0
    for (let i = 0; i < 20; i++) {
      const got = await native.search(request(i, { efSearch: 40, ...more() }))
      const oracle = searchFlat([{ column, rowCount, passes }], 'l2', query(i), 10)
      expect(got.count).toBe(oracle.count)
      for (const row of got.ordinals) expect(passes(row)).toBe(true)
      total += recall(got, oracle)
    }
    return total / 20
  }
})

test('conditions far away from the query still give k hits', async () => {
  // Rows sorted by distance to the query: only the farthest 5 % and 30 % may be returned.
  for (const share of [0.05, 0.3]) {
    const far = [...searchFlat([{ column, rowCount }], 'l2', query(3), rowCount).ordinals].slice(
      -Math.floor(rowCount * share),
    )
    const allowed = new Uint8Array(Math.ceil(rowCount / 8))
    for (const row of far) allowed[row >> 3] = (allowed[row >> 3] ?? 0) | (1 << (row & 7))
    const got = await native.search(
      request(3, { segments: [{ segment, rowCount, allowed }], efSearch: 40 }),
    )
    expect(got.count).toBe(10)
    expect(got.passing[0]).toBe(far.length)
    const oracle = far.slice(0, 10)
    expect(rows(got).filter((row) => oracle.includes(row)).length).toBeGreaterThanOrEqual(6)
  }
})

test('strategies: empty, exact and index; k beyond the rows; invisible rows', async () => {
  const none = await native.search(request(0, { filter: keeping(-1) }))
  expect([none.count, none.strategies[0], none.passing[0]]).toEqual([0, 'empty', 0])
  expect((await native.search(request(0, { filter: keeping(1) }))).strategies).toEqual(['exact'])
  expect((await native.search(request(0, { mode: 'exact' }))).strategies).toEqual(['exact'])
  const all = await native.search(request(0, { k: rowCount + 5 }))
  expect(all.count).toBe(rowCount)
  const oracle = searchFlat([{ column, rowCount }], 'l2', query(0), 300)
  const many = await native.search(request(0, { k: 300 }))
  expect(many.count).toBe(300)
  expect(recall(many, oracle)).toBeGreaterThan(0.95)

  const made = newSegment()
  made.setIndex(1, 100, index)
  const deleted = new Float64Array(rowCount).fill(Infinity)
  const nearest = (await native.search(request(0))).ordinals[0] ?? 0
  deleted[nearest] = 5
  for (const stable of [false, true]) {
    made.setTimestamps(new Float64Array(rowCount), deleted, stable)
    const now = await native.search(
      request(0, { segments: [{ segment: made, rowCount }], readAt: 4 }),
    )
    const later = await native.search(
      request(0, { segments: [{ segment: made, rowCount }], readAt: 5 }),
    )
    expect(rows(now)).toContain(nearest)
    expect(rows(later)).not.toContain(nearest)
    expect([later.count, later.passing[0], later.strategies[0]]).toEqual([
      10,
      rowCount - 1,
      'index',
    ])
  }
})

test('NULL rows, zero vectors and huge ones', async () => {
  const values = column.values.slice()
  const validity = new Uint8Array(rowCount / 8).fill(0xff)
  const first = searchFlat([{ column, rowCount }], 'cosine', query(0), 3).ordinals
  const [nulled = 0, zeroed = 0, huge = 0] = first
  validity[nulled >> 3] = 0xff & ~(1 << (nulled & 7))
  values.fill(0, zeroed * dimensions, (zeroed + 1) * dimensions)
  for (let i = 0; i < dimensions; i++)
    values[huge * dimensions + i] = (values[huge * dimensions + i] ?? 0) * 9e17
  const holed: VectorColumn = { ...column, values, validity }
  for (const metric of ['cosine', 'l2', 'inner'] as const) {
    const made = native.createSegment()
    made.setColumn(1, holed)
    made.setIndex(1, 1, await build(metric, { values, validity }))
    for (const k of [10, rowCount]) {
      const oracle = searchFlat([{ column: holed, rowCount }], metric, query(0), k)
      const got = await native.search(
        request(0, { segments: [{ segment: made, rowCount }], metric, k }),
      )
      expect(got.count, `${metric} ${k}`).toBe(oracle.count)
      expect(recall(got, oracle), metric).toBeGreaterThanOrEqual(0.9)
      expect(rows(got)).not.toContain(nulled)
    }
  }
})

test('growing and indexed segments answer as one', async () => {
  const half = rowCount / 2
  const indexed = newSegment(0, half)
  indexed.setIndex(1, 5, await build('l2', { rowCount: half }))
  const growing = newSegment(half)
  const segments = [
    { segment: indexed, rowCount: half },
    { segment: growing, rowCount: half - 7 },
  ]
  for (let i = 0; i < 10; i++) {
    const got = await native.search(request(i, { segments, efSearch: 10 }))
    expect(got.strategies).toEqual(['index', 'exact'])
    expect(got.count).toBe(10)
    const oracle = searchFlat([{ column, rowCount: rowCount - 7 }], 'l2', query(i), 10)
    const global = [...got.ordinals].map((row, at) => row + (got.segments[at] ?? 0) * half)
    expect(global.filter((row) => oracle.ordinals.includes(row)).length).toBeGreaterThanOrEqual(5)
  }
})

test('an index file loads as it was saved; damaged files are refused', async () => {
  const path = join(directory, 'one.hnsw')
  await index.save(path)
  const loaded = await native.loadHnsw(path)
  expect([loaded.rowCount, loaded.metric, loaded.memoryBytes]).toEqual([
    rowCount,
    'l2',
    index.memoryBytes,
  ])
  const made = newSegment()
  made.setIndex(1, 100, loaded)
  for (let i = 0; i < 10; i++) {
    const segments = [{ segment: made, rowCount }]
    expect(rows(await native.search(request(i, { segments })))).toEqual(
      rows(await native.search(request(i))),
    )
  }
  const bytes = readFileSync(path)
  const damaged = join(directory, 'damaged.hnsw')
  const flip = randomFloats(11)
  for (let i = 0; i < 40; i++) {
    const copy = Buffer.from(bytes)
    const at = Math.floor(flip() * (i < 20 ? 4096 : copy.length))
    copy[at] = (copy[at] ?? 0) ^ (1 << Math.floor(flip() * 8))
    writeFileSync(damaged, copy)
    // Between sections lies padding, which nothing depends on.
    await native.loadHnsw(damaged).then(
      (ok) => expect(ok.rowCount).toBe(rowCount),
      (error: unknown) => expect(error).toMatchObject({ code: 'XX001' }),
    )
  }
  for (const size of [0, 100, 4095, 4096, 5000, bytes.length - 1]) {
    writeFileSync(damaged, bytes)
    truncateSync(damaged, size)
    await expect(native.loadHnsw(damaged)).rejects.toMatchObject({ code: 'XX001' })
  }
  await expect(native.loadHnsw(join(directory, 'missing'))).rejects.toMatchObject({ code: '58030' })
})

test('a build reports progress and stops when asked to', async () => {
  const seen: number[] = []
  await build('l2', { onProgress: (done) => seen.push(done) })
  expect(seen.length).toBeGreaterThan(3)
  expect(seen).toEqual([...seen].sort((a, b) => a - b))
  const controller = new AbortController()
  const stopped = build('l2', { signal: controller.signal, efConstruction: 400 })
  setTimeout(() => controller.abort(), 20)
  await expect(stopped).rejects.toMatchObject({ code: '57014' })
  await expect(build('l2', { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: '57014',
  })
  expect((await build('l2', { rowCount: 0 })).rowCount).toBe(0)
})

test('searches during a build, sixteen at a time, keep their answers', async () => {
  const wanted = await Promise.all(
    Array.from({ length: 50 }, (_, i) => native.search(request(i)).then(rows)),
  )
  const building = build('cosine')
  let next = 0
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (next < 3000) {
        const i = next++ % 50
        expect(rows(await native.search(request(i)))).toEqual(wanted[i])
        if (next % 100 === 0)
          segment.setColumn(2, { kind: 'int32', length: rowCount, values: shares.slice() })
      }
    }),
  )
  await building
})

test('memory stays flat over ten thousand searches', async () => {
  const collect = (globalThis as { gc?: () => void }).gc ?? (() => undefined)
  const run = async (count: number) => {
    for (let i = 0; i < count; i += 10) {
      await Promise.all(
        Array.from({ length: 10 }, (_, j) =>
          native.search(request((i + j) % 50, { filter: keeping(1 + (i % 999)) })),
        ),
      )
    }
    collect()
    return process.memoryUsage().rss
  }
  const before = await run(4000)
  const after = await run(10_000)
  expect(after - before).toBeLessThan(64 << 20)
})

test('wrong calls throw and nothing crashes', async () => {
  const closed = newSegment()
  closed.close()
  closed.close()
  const bad = (call: () => unknown) => expect(async () => call()).rejects.toThrow()
  await bad(() => closed.setIndex(1, 1, undefined))
  await bad(() => native.search(request(0, { segments: [{ segment: closed, rowCount: 1 }] })))
  await bad(() =>
    native.search(request(0, { segments: [{ segment: {} as NativeSegment, rowCount: 1 }] })),
  )
  await bad(() =>
    native.search(
      request(0, { segments: [{ segment: index as unknown as NativeSegment, rowCount: 1 }] }),
    ),
  )
  await bad(() => native.search(request(0, { segments: [{ segment, rowCount: rowCount + 1 }] })))
  await bad(() =>
    native.search(request(0, { segments: [{ segment, rowCount, allowed: new Uint8Array(3) }] })),
  )
  await bad(() => native.search(request(0, { attnum: 9 })))
  await bad(() => native.search(request(0, { attnum: 2 })))
  await bad(() => native.search(request(0, { metric: 'hamming' as Metric })))
  await bad(() => native.search(request(0, { filter: new Uint8Array() })))
  await bad(() => native.search(null as unknown as SearchRequest))
  await bad(() => segment.setIndex(1, 1, segment as unknown as NativeIndex))
  await bad(() =>
    newSegment().setColumn(3, { kind: 'int32', length: 1, values: new Float32Array(1) } as never),
  )
  await bad(() =>
    native.buildHnsw({
      values: new Float32Array(3),
      rowCount: 2,
      dimensions: 3,
      metric: 'l2',
      m: 8,
      efConstruction: 40,
      threads: 1,
    }),
  )
  await expect(native.search(request(0, { query: new Float32Array(3) }))).rejects.toMatchObject({
    code: '22000',
    message: 'different vector dimensions 24 and 3',
  })
  expect(() => native.distance('l2', new Float32Array(2), new Float32Array(3))).toThrow(
    'different vector dimensions 2 and 3',
  )
  expect(native.distance('cosine', new Float32Array(2), Float32Array.of(1, 2))).toBeNaN()
  const lost = await build('l2', { rowCount: 10 })
  lost.close()
  lost.close()
  expect(() => lost.rowCount).toThrow('closed')
})

test('mapFile maps', () => {
  const path = join(directory, 'bytes')
  writeFileSync(path, 'hello')
  expect(Buffer.from(native.mapFile(path)).toString()).toBe('hello')
  writeFileSync(path, '')
  expect(native.mapFile(path).byteLength).toBe(0)
  expect(() => native.mapFile(join(directory, 'missing'))).toThrow('could not open file')
})

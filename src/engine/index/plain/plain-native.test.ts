/** The plain add-on judges the native one: the same requests, everything compared. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Column } from '#engine/columnar/column.js'
import { columnsArbitrary, filterArbitrary, metrics } from '#engine/index/native.arbitrary.js'
import {
  type AggregateSpec,
  type FilterRequest,
  type Native,
  native,
  type SearchSegment,
  type SortKey,
} from '#engine/index/native.js'
import { encodeFilter } from '#engine/plan/filter-program.js'
import { createPlainNative, plainNative } from './plain-native.testing.js'

interface Rows {
  readonly columns: ReadonlyMap<number, Column>
  readonly rowCount: number
  readonly timestamps:
    | { readonly inserted: Float64Array; readonly deleted: Float64Array }
    | undefined
  readonly stable: boolean
  readonly allowed: Uint8Array | undefined
}

const comparedAs = (attnum: number): SortKey['as'] =>
  attnum === 8 ? 'numeric' : attnum === 7 || attnum === 9 || attnum === 10 ? 'bytes' : 'native'

const moment = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constant(Infinity))
const rowsArbitrary: fc.Arbitrary<Rows> = fc.integer({ min: 0, max: 40 }).chain((rowCount) => {
  const moments = fc
    .array(moment, { minLength: rowCount, maxLength: rowCount })
    .map((values) => Float64Array.from(values))
  const bytes = Math.ceil(rowCount / 8)
  return fc.record({
    columns: columnsArbitrary(rowCount),
    // Not always every row: growing segments have room.
    rowCount: fc
      .integer({ min: 0, max: rowCount })
      .map((less) => (less % 3 === 0 ? less : rowCount)),
    timestamps: fc.option(fc.record({ inserted: moments, deleted: moments }), { nil: undefined }),
    stable: fc.boolean(),
    allowed: fc.option(fc.uint8Array({ minLength: bytes, maxLength: bytes }), { nil: undefined }),
  })
})

const partsArbitrary = fc.array(rowsArbitrary, { minLength: 0, maxLength: 3 })
const requestArbitrary = fc.record({
  parts: partsArbitrary,
  readAt: fc.integer({ min: 0, max: 6 }),
  filter: fc.option(filterArbitrary, { nil: undefined }),
})

function segmentsOf(engine: Native, parts: readonly Rows[]): SearchSegment[] {
  return parts.map(({ columns, rowCount, timestamps, stable, allowed }) => {
    const segment = engine.createSegment()
    for (const [attnum, column] of columns) segment.setColumn(attnum, column)
    if (timestamps !== undefined)
      segment.setTimestamps(timestamps.inserted, timestamps.deleted, stable)
    return { segment, rowCount, allowed }
  })
}

type Generated = typeof requestArbitrary extends fc.Arbitrary<infer T> ? T : never

function requestOf(engine: Native, { parts, readAt, filter }: Generated): FilterRequest {
  return {
    segments: segmentsOf(engine, parts),
    readAt,
    filter: filter === undefined ? undefined : encodeFilter(filter),
  }
}

/** What came back, or the code and words of what was thrown or rejected. */
async function outcome(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call()
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string }
    return { code, message }
  }
}

async function expectSame(call: (engine: Native) => Promise<unknown>): Promise<void> {
  const judged = await outcome(() => call(native))
  expect(judged).toEqual(await outcome(() => call(plainNative)))
}

test('filter', async () => {
  await fc.assert(
    fc.asyncProperty(requestArbitrary, async (generated) => {
      await expectSame((engine) => engine.filter(requestOf(engine, generated)))
    }),
    { numRuns: 300 },
  )
})

test('exact search: hits, distances, strategies and counts', async () => {
  const component = fc.oneof(
    fc.constantFrom(0, -0, 1, -1, 0.5, 0.1, 1e-30, 1e18, 3e38),
    fc.float({ noNaN: true }),
  )
  const query = fc.array(component, { minLength: 3, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(
      requestArbitrary,
      query,
      fc.constantFrom(...metrics),
      fc.nat(50),
      async (generated, components, metric, k) => {
        await expectSame((engine) =>
          engine.search({
            ...requestOf(engine, generated),
            attnum: 11,
            metric,
            query: Float32Array.from(components),
            k,
            efSearch: 10,
            mode: 'exact',
          }),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('exact search over vectors of every length and size of number', async () => {
  const value = fc.oneof(fc.constantFrom(0, 0.1, -0.1, 1e-30, 1e18), fc.float({ noNaN: true }))
  const vectors = fc.integer({ min: 1, max: 40 }).chain((dimensions) =>
    fc.record({
      dimensions: fc.constant(dimensions),
      query: fc.array(value, { minLength: dimensions, maxLength: dimensions }),
      rows: fc.array(fc.array(value, { minLength: dimensions, maxLength: dimensions }), {
        maxLength: 12,
      }),
      k: fc.nat(13),
      metric: fc.constantFrom(...metrics),
    }),
  )
  await fc.assert(
    fc.asyncProperty(vectors, async ({ dimensions, query, rows, k, metric }) => {
      const values = Float32Array.from(rows.flat())
      const column = { kind: 'vector', dimensions, length: rows.length, values } as const
      await expectSame((engine) => {
        const segment = engine.createSegment()
        segment.setColumn(1, column)
        return engine.search({
          segments: [{ segment, rowCount: rows.length }],
          readAt: 0,
          attnum: 1,
          metric,
          query: Float32Array.from(query),
          k,
          efSearch: 1,
          mode: 'exact',
        })
      })
      for (const row of rows) {
        const a = Float32Array.from(query)
        const b = Float32Array.from(row)
        expect(native.distance(metric, a, b)).toBe(plainNative.distance(metric, a, b))
      }
    }),
    { numRuns: 300 },
  )
})

test('ORDER BY … LIMIT', async () => {
  const key = fc
    .record({
      attnum: fc.integer({ min: 1, max: 10 }),
      descending: fc.boolean(),
      nullsFirst: fc.boolean(),
    })
    .map((made): SortKey => ({ ...made, as: comparedAs(made.attnum) }))
  await fc.assert(
    fc.asyncProperty(
      requestArbitrary,
      fc.array(key, { maxLength: 3 }),
      fc.nat(60),
      async (generated, orderBy, limit) => {
        await expectSame((engine) =>
          engine.top({ ...requestOf(engine, generated), orderBy, limit }),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('aggregates', async () => {
  const spec = fc
    .record({
      kind: fc.constantFrom('countStar', 'count', 'sum', 'min', 'max'),
      attnum: fc.integer({ min: 1, max: 10 }),
    })
    .map((made): AggregateSpec => ({ ...made, as: comparedAs(made.attnum) }))
  await fc.assert(
    fc.asyncProperty(
      requestArbitrary,
      fc.array(spec, { minLength: 1, maxLength: 3 }),
      async (generated, aggregates) => {
        await expectSame((engine) =>
          engine.aggregate({ ...requestOf(engine, generated), aggregates }),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('what is refused is refused with the same words', async () => {
  const column: Column = { kind: 'bool', length: 8, values: new Uint8Array(8) }
  const vector: Column = {
    kind: 'vector',
    dimensions: 2,
    length: 1,
    values: Float32Array.of(1, 2),
  }
  const filters = [
    encodeFilter({ op: 'boolean', attnum: 2 }),
    encodeFilter({ op: 'isNull', attnum: 9 }),
    encodeFilter({ op: 'compare', attnum: 1, comparison: '=', as: 'bytes', value: column.values }),
    encodeFilter({ op: 'in', attnum: 1, as: 'native', values: [column.values], hasNull: false }),
    encodeFilter({ op: 'like', attnum: 1, pattern: column.values }),
    Uint8Array.of(),
    Uint8Array.of(2),
    Uint8Array.of(1),
    Uint8Array.of(1, 3),
    Uint8Array.of(1, 99),
    Uint8Array.of(1, 4, 1, 4, 1),
  ]
  const segmentOf = (engine: Native) => {
    const segment = engine.createSegment()
    segment.setColumn(1, column)
    segment.setColumn(2, vector)
    return segment
  }
  for (const filter of filters) {
    for (const rowCount of [0, 1]) {
      await expectSame((engine) =>
        engine.filter({ segments: [{ segment: segmentOf(engine), rowCount }], readAt: 0, filter }),
      )
    }
  }
  await expectSame((engine) => {
    const segment = segmentOf(engine)
    segment.close()
    return engine.filter({ segments: [{ segment, rowCount: 1 }], readAt: 0 })
  })
  await expectSame((engine) => {
    const segment = segmentOf(engine)
    segment.setTimestamps(new Float64Array(1), new Float64Array(1))
    return engine.filter({ segments: [{ segment, rowCount: 2 }], readAt: 0 })
  })
  for (const [attnum, query] of [
    [1, Float32Array.of(1)],
    [2, Float32Array.of(1)],
    [3, Float32Array.of(1)],
  ] as const) {
    await expectSame((engine) =>
      engine.search({
        segments: [{ segment: segmentOf(engine), rowCount: 1 }],
        readAt: 0,
        attnum,
        metric: 'l2',
        query,
        k: 1,
        efSearch: 1,
        mode: 'exact',
      }),
    )
  }
})

test('an index answers as exact search does, also after save and load', async () => {
  const files = new Map<string, Uint8Array>()
  const engine = createPlainNative({
    get: (path) => files.get(path),
    put: (path, saved) => files.set(path, saved),
  })
  const metric = fc.constantFrom(...metrics)
  await fc.assert(
    fc.asyncProperty(requestArbitrary, metric, fc.nat(20), async (generated, used, k) => {
      const request = requestOf(engine, generated)
      for (const [i, { segment, rowCount }] of request.segments.entries()) {
        const column = generated.parts[i]?.columns.get(11)
        if (column?.kind !== 'vector') throw new Error('no vectors')
        const built = await engine.buildHnsw({
          ...column,
          rowCount,
          metric: used,
          m: 8,
          efConstruction: 20,
          threads: 1,
        })
        await built.save('index')
        segment.setIndex(11, 5, await engine.loadHnsw('index'))
      }
      const search = {
        ...request,
        attnum: 11,
        metric: used,
        query: Float32Array.of(1, 0, 0.5),
        k,
        efSearch: 10,
      }
      const { strategies, visited, ...found } = await engine.search({ ...search, mode: 'auto' })
      expect(await engine.search({ ...search, mode: 'exact' })).toMatchObject(found)
      expect(strategies).not.toContain('exact')
    }),
    { numRuns: 100 },
  )
  const bytes = files.get('index') ?? new Uint8Array()
  for (let at = 0; at < bytes.length; at++) {
    const damaged = bytes.slice()
    damaged[at] = (damaged[at] ?? 0) ^ 1
    files.set('damaged', damaged)
    await expect(engine.loadHnsw('damaged')).rejects.toMatchObject({ code: 'XX001' })
  }
  await expect(engine.loadHnsw('missing')).rejects.toMatchObject({ code: '58030' })
})

test('an index over other rows than the segment has is found out', async () => {
  const column = { kind: 'vector', dimensions: 1, length: 3 } as const
  const segment = plainNative.createSegment()
  segment.setColumn(1, { ...column, values: Float32Array.of(1, 2, 3) })
  const index = await plainNative.buildHnsw({
    values: Float32Array.of(3, 2, 1),
    rowCount: 3,
    dimensions: 1,
    metric: 'l2',
    m: 8,
    efConstruction: 20,
    threads: 1,
  })
  segment.setIndex(1, 5, index)
  const found = await plainNative.search({
    segments: [{ segment, rowCount: 3 }],
    readAt: 0,
    attnum: 1,
    metric: 'l2',
    query: Float32Array.of(1),
    k: 1,
    efSearch: 1,
    mode: 'auto',
  })
  expect([...found.ordinals]).toEqual([2])
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { aggregateSegments } from '#engine/exec/aggregate.js'
import {
  type Condition,
  filterArbitrary,
  hexOf,
  type JudgedRow,
  judgeRows,
  keyIndexOid,
  memorySegment,
  segmentsArbitrary,
} from '#engine/exec/exec.arbitrary.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import { compareSortRows, mergeScan } from '#engine/exec/merge-scan.js'
import { reduceSearch } from '#engine/exec/merge-search.js'
import { scanSegments } from '#engine/exec/scan.js'
import { searchSegments } from '#engine/exec/search.js'
import { pgDistance } from '#engine/index/flat.js'
import { type AggregateSpec, native, type SortKey } from '#engine/index/native.js'
import type { ScanFragment, ScanPart, ScanSummary, SearchFragment } from '#engine/plan/fragment.js'
import { allKinds, type RandomRows, tableSchema } from '#engine/segment/segment.arbitrary.js'

const { columns } = tableSchema(allKinds)
const attnums = columns.map(({ attnum }) => attnum)
const base = { tableId: 1000, shard: 0 }

const conditionArbitrary = fc.record({
  readAt: fc.integer({ min: 0, max: 11 }).map((value) => value as Timestamp),
  filter: fc.option(filterArbitrary, { nil: undefined }),
  allowedRowIds: fc.option(rowIdsArbitrary(40), { nil: undefined, freq: 2 }),
  excludedRowIds: fc.option(rowIdsArbitrary(10), { nil: undefined, freq: 2 }),
})

function rowIdsArbitrary(countMax: number): fc.Arbitrary<Float64Array> {
  const id = fc
    .tuple(fc.nat(2), fc.integer({ min: 1, max: 40 }))
    .map(([segment, nth]) => segment * 1000 + nth)
  return fc
    .uniqueArray(id, { maxLength: countMax })
    .map((ids) => Float64Array.from(ids.toSorted((a, b) => a - b)))
}

function segmentsOf(parts: readonly RandomRows[]) {
  return parts.map((rows, i) => memorySegment(i + 1, rows, columns))
}

async function collect(scan: AsyncGenerator<ScanPart, ScanSummary>): Promise<string[]> {
  const found: string[] = []
  for await (const { rowIds, batch } of scan) {
    expect(batch.rowCount).toBe(rowIds.length)
    rowIds.forEach((rowId, row) => {
      found.push([rowId, ...batch.columns.map((column) => hexOf(column, row))].join(' '))
    })
  }
  return found
}

function expectedRows(rows: readonly JudgedRow[]): string[] {
  return rows.map(({ rowId, row, columns: byAttnum }) =>
    [rowId, ...attnums.map((attnum) => hexOf(byAttnum.get(attnum), row))].join(' '),
  )
}

describe('scans', () => {
  test('give the rows of a plain loop, in row id order, up to the limit', async () => {
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns),
        conditionArbitrary,
        fc.option(fc.nat(20), { nil: undefined }),
        async (parts, condition, limit) => {
          const fragment: ScanFragment = { ...base, ...condition, output: attnums, limit }
          const scan = scanSegments(native, segmentsOf(parts), fragment, backgroundContext)
          const expected = expectedRows(judgeRows(parts, columns, condition)).slice(0, limit)
          expect(await collect(scan)).toEqual(expected)
        },
      ),
      { numRuns: 150 },
    )
  })

  test('in an order give the first rows of that order', async () => {
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns),
        conditionArbitrary,
        fc.array(sortKeyArbitrary, { minLength: 1, maxLength: 2 }),
        fc.option(fc.nat(20), { nil: undefined }),
        async (parts, condition, orderBy, limit) => {
          const fragment: ScanFragment = { ...base, ...condition, output: attnums, limit, orderBy }
          const scan = scanSegments(native, segmentsOf(parts), fragment, backgroundContext)
          const sorted = sortRows(judgeRows(parts, columns, condition), orderBy)
          expect(await collect(scan)).toEqual(expectedRows(sorted).slice(0, limit))
        },
      ),
      { numRuns: 150 },
    )
  })

  test('merged from several places are one scan', async () => {
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns, 4),
        conditionArbitrary,
        fc.array(sortKeyArbitrary, { maxLength: 2 }),
        fc.option(fc.nat(20), { nil: undefined }),
        async (parts, condition, orderBy, limit) => {
          const fragment: ScanFragment = { ...base, ...condition, output: attnums, limit, orderBy }
          const scans = segmentsOf(parts).map((segment) =>
            scanSegments(native, [segment], fragment, backgroundContext),
          )
          const rows = sortRows(judgeRows(parts, columns, condition), orderBy)
          expect(await collect(mergeScan(scans, fragment))).toEqual(
            expectedRows(rows).slice(0, limit),
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  test('by key give the visible rows with one of the keys', async () => {
    const keyed = [3, 9]
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns),
        conditionArbitrary,
        fc.array(fc.tuple(fc.nat(2), fc.nat(29)), { maxLength: 5 }),
        fc.option(fc.nat(3), { nil: undefined }),
        async (parts, condition, picks, limit) => {
          const segments = parts.map((part, i) => memorySegment(i + 1, part, columns, keyed))
          const values = picks.map(([place, nth]) =>
            keyed.map((attnum) => {
              const column = parts[place]?.batch.columns[attnum - 1]
              return column !== undefined && nth < column.length ? readDatum(column, nth) : null
            }),
          )
          const fragment: ScanFragment = {
            ...base,
            ...condition,
            output: attnums,
            limit,
            keys: { indexOid: keyIndexOid, values },
          }
          const wanted = new Set(
            values.filter((key) => !key.includes(null)).map((key) => key.map(hex).join(' ')),
          )
          const rows = judgeRows(parts, columns, condition).filter(({ row, columns: byAttnum }) => {
            const key = keyed.map((attnum) => hexOf(byAttnum.get(attnum), row))
            // A key with a NULL is nobody's; joined, it would look as one with an empty string.
            return !key.includes(null) && wanted.has(key.join(' '))
          })
          const scan = scanSegments(native, segments, fragment, backgroundContext)
          expect(await collect(scan)).toEqual(expectedRows(rows).slice(0, limit))
        },
      ),
      { numRuns: 150 },
    )
  })

  test('end when cancelled, with the reason', async () => {
    const [parts] = fc.sample(segmentsArbitrary(columns), { numRuns: 1, seed: 1 })
    const controller = new AbortController()
    const fragment: ScanFragment = { ...base, readAt: 10 as Timestamp, output: [] }
    const context = { signal: controller.signal }
    const scan = scanSegments(native, segmentsOf(parts ?? []), fragment, context)
    controller.abort(new Error('canceling statement due to user request'))
    await expect(scan.next()).rejects.toThrow('canceling statement')
  })
})

const sortKeyArbitrary: fc.Arbitrary<SortKey> = fc
  .tuple(fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 9), fc.boolean(), fc.boolean())
  .map(([attnum, descending, nullsFirst]) => ({
    attnum,
    descending,
    nullsFirst,
    as: attnum === 9 || attnum === 7 ? 'bytes' : 'native',
  }))

function sortRows(rows: readonly JudgedRow[], orderBy: readonly SortKey[]): readonly JudgedRow[] {
  return rows.toSorted((a, b) => {
    for (const key of orderBy) {
      const columnA = a.columns.get(key.attnum)
      const columnB = b.columns.get(key.attnum)
      if (columnA === undefined || columnB === undefined) throw new Error('no column')
      const order = compareSortRows(columnA, a.row, columnB, b.row, key)
      if (order !== 0) return order
    }
    return a.rowId - b.rowId
  })
}

function hex(datum: Uint8Array | null): string | null {
  return datum === null ? null : Buffer.from(datum).toString('hex')
}

describe('searches', () => {
  const metrics = fc.constantFrom('l2', 'inner', 'cosine', 'l1' as const)
  const queries = fc
    .array(fc.integer({ min: -3, max: 3 }), { minLength: 3, maxLength: 3 })
    .map((values) => Float32Array.from(values))

  test('give the k nearest of a plain loop, from one call or from reduced parts (TOPK-1)', async () => {
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns, 4),
        conditionArbitrary,
        metrics,
        queries,
        fc.nat(12),
        async (parts, condition, metric, query, k) => {
          const fragment: SearchFragment = {
            ...base,
            ...condition,
            attnum: 8,
            metric,
            query,
            k,
            efSearch: 40,
            mode: 'exact',
            output: attnums,
          }
          const segments = segmentsOf(parts)
          const whole = await searchSegments(native, segments, fragment, backgroundContext)
          const found = (part: typeof whole) =>
            Array.from(part.rowIds, (rowId, row) =>
              [
                part.distances[row],
                rowId,
                ...part.batch.columns.map((column) => hexOf(column, row)),
              ].join(' '),
            )
          const expected = nearest(judgeRows(parts, columns, condition), metric, query, k)
          expect(found(whole)).toEqual(expected)
          const single = await Promise.all(
            segments.map((segment) =>
              searchSegments(native, [segment], fragment, backgroundContext),
            ),
          )
          expect(found(reduceSearch(single, k))).toEqual(expected)
          expect(whole.segments.length).toBe(parts.length)
        },
      ),
      { numRuns: 150 },
    )
  })

  function nearest(
    rows: readonly JudgedRow[],
    metric: SearchFragment['metric'],
    query: Float32Array,
    k: number,
  ): string[] {
    return rows
      .flatMap((judged) => {
        const column = judged.columns.get(8)
        if (column?.kind !== 'vector' || hexOf(column, judged.row) === null) return []
        const distance = pgDistance(metric, query, column.values, judged.row * 3)
        return Number.isNaN(distance) ? [] : [{ judged, distance }]
      })
      .toSorted((a, b) => a.distance - b.distance || a.judged.rowId - b.judged.rowId)
      .slice(0, k)
      .map(({ judged, distance }) => `${distance} ${expectedRows([judged])[0]}`)
  }
})

describe('aggregates', () => {
  const specs: readonly AggregateSpec[] = [
    { kind: 'countStar', attnum: 0, as: 'native' },
    ...[3, 4].flatMap((attnum): AggregateSpec[] => [
      { kind: 'count', attnum, as: 'native' },
      { kind: 'sum', attnum, as: 'native' },
      { kind: 'min', attnum, as: 'native' },
      { kind: 'max', attnum, as: 'native' },
    ]),
    { kind: 'min', attnum: 9, as: 'bytes' },
    { kind: 'max', attnum: 9, as: 'bytes' },
    { kind: 'min', attnum: 6, as: 'native' },
    { kind: 'max', attnum: 6, as: 'native' },
  ]

  test('of parts, reduced, are those of one pass; counts and sums are those of a plain loop', async () => {
    await fc.assert(
      fc.asyncProperty(
        segmentsArbitrary(columns, 4),
        conditionArbitrary,
        async (parts: readonly RandomRows[], condition: Condition & { readAt: Timestamp }) => {
          const fragment = { ...base, ...condition, aggregates: specs }
          const segments = segmentsOf(parts)
          const whole = await aggregateSegments(native, segments, fragment, backgroundContext)
          const single = await Promise.all(
            segments.map((segment) =>
              aggregateSegments(native, [segment], fragment, backgroundContext),
            ),
          )
          const reduced = reduceAggregates(
            single.map(({ values }) => values),
            specs,
          )
          expect(reduced).toEqual(whole.values)
          const rows = judgeRows(parts, columns, condition)
          expect(whole.values[0]?.count).toBe(rows.length)
          for (const attnum of [3, 4]) {
            const values = rows.flatMap(({ row, columns: byAttnum }) => {
              const column = byAttnum.get(attnum)
              if (column === undefined || hexOf(column, row) === null) return []
              return [BigInt(Number(column.values[row] ?? 0))]
            })
            const sum = values.reduce((a, b) => a + b, 0n)
            const at = specs.findIndex((spec) => spec.kind === 'sum' && spec.attnum === attnum)
            expect(whole.values[at]).toEqual({
              count: values.length,
              value: values.length === 0 ? null : String(sum),
            })
          }
        },
      ),
      { numRuns: 150 },
    )
  })

  test('of numerics are added exactly', () => {
    const spec: AggregateSpec = { kind: 'sum', attnum: 1, as: 'numeric' }
    const sum = (...values: string[]) =>
      reduceAggregates(
        values.map((value) => [{ count: 1, value }]),
        [spec],
      )[0]?.value
    expect(sum('1.50', '2')).toBe('3.50')
    expect(sum('-0.05', '0.04')).toBe('-0.01')
    expect(sum('99999999999999999999', '1')).toBe('100000000000000000000')
    expect(sum('NaN', '1')).toBe('NaN')
    expect(sum('Infinity', '-Infinity')).toBe('NaN')
    expect(sum('-Infinity', '5')).toBe('-Infinity')
  })
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Column } from '#engine/columnar/column.js'
import { compareValues, evaluateFilter, isValid, valueAt } from '#engine/plan/filter-evaluate.js'
import { encodeFilter } from '#engine/plan/filter-program.js'
import { columnsArbitrary, filterArbitrary, numericBytes } from './native.arbitrary.js'
import { native, type SearchSegment, type SortKey } from './native.js'

const kinds: Record<number, SortKey['as']> = {
  1: 'native',
  2: 'native',
  3: 'native',
  4: 'native',
  5: 'native',
  6: 'native',
  7: 'bytes',
  8: 'numeric',
  9: 'bytes',
}
const key = fc
  .record({
    attnum: fc.integer({ min: 1, max: 9 }),
    descending: fc.boolean(),
    nullsFirst: fc.boolean(),
  })
  .map((made): SortKey => ({ ...made, as: kinds[made.attnum] ?? 'native' }))
const parts = fc.array(
  fc.integer({ min: 0, max: 40 }).chain((rows) => columnsArbitrary(rows)),
  { minLength: 1, maxLength: 3 },
)

function segmentsOf(tables: readonly ReadonlyMap<number, Column>[]): SearchSegment[] {
  return tables.map((columns) => {
    const segment = native.createSegment()
    for (const [attnum, column] of columns) segment.setColumn(attnum, column)
    return { segment, rowCount: columns.get(1)?.length ?? 0 }
  })
}

function columnOf(columns: ReadonlyMap<number, Column> | undefined, attnum: number): Column {
  const column = columns?.get(attnum)
  if (column === undefined) throw new Error(`no column ${attnum}`)
  return column
}

function passingRows(
  tables: readonly ReadonlyMap<number, Column>[],
  filter: Parameters<typeof encodeFilter>[0],
) {
  return tables.flatMap((columns, segment) =>
    Array.from({ length: columns.get(1)?.length ?? 0 }, (_, ordinal) => ({
      segment,
      ordinal,
    })).filter(({ ordinal }) => evaluateFilter(filter, columns, ordinal) === true),
  )
}

test('ORDER BY … LIMIT is a stable sort of the passing rows', async () => {
  await fc.assert(
    fc.asyncProperty(
      parts,
      filterArbitrary,
      fc.array(key, { maxLength: 3 }),
      fc.nat(60),
      async (tables, filter, orderBy, limit) => {
        const wanted = passingRows(tables, filter).sort((a, b) => {
          for (const { attnum, descending, nullsFirst, as } of orderBy) {
            const x = columnOf(tables[a.segment], attnum)
            const y = columnOf(tables[b.segment], attnum)
            const xs = isValid(x, a.ordinal)
            const ys = isValid(y, b.ordinal)
            if (!xs && !ys) continue
            if (!xs || !ys) return xs === nullsFirst ? 1 : -1
            const order = compareValues(
              valueAt(x, a.ordinal),
              valueAt(y, b.ordinal),
              as,
              attnum === 5 || attnum === 6,
            )
            if (order !== 0) return descending ? -order : order
          }
          return a.segment - b.segment || a.ordinal - b.ordinal
        })
        const got = await native.top({
          segments: segmentsOf(tables),
          readAt: 0,
          filter: encodeFilter(filter),
          orderBy,
          limit,
        })
        const rows = Array.from(got.ordinals, (ordinal, i) => ({
          segment: got.segments[i],
          ordinal,
        }))
        expect(rows).toEqual(wanted.slice(0, limit))
        expect(got.count).toBe(rows.length)
      },
    ),
    { numRuns: 150 },
  )
})

test('aggregates equal plain folds over the passing rows', async () => {
  await fc.assert(
    fc.asyncProperty(
      parts,
      filterArbitrary,
      fc.integer({ min: 1, max: 9 }),
      async (tables, filter, attnum) => {
        const as = kinds[attnum] ?? 'native'
        const passing = passingRows(tables, filter)
        const values = passing
          .filter(({ segment, ordinal }) => isValid(columnOf(tables[segment], attnum), ordinal))
          .map(({ segment, ordinal }) => valueAt(columnOf(tables[segment], attnum), ordinal))
        const request = { segments: segmentsOf(tables), readAt: 0, filter: encodeFilter(filter) }
        const [star, count, min, max] = await native.aggregate({
          ...request,
          aggregates: (['countStar', 'count', 'min', 'max'] as const).map((kind) => ({
            kind,
            attnum,
            as,
          })),
        })
        expect(star?.count).toBe(passing.length)
        expect(count?.count).toBe(values.length)
        const floats = attnum === 5 || attnum === 6
        for (const [result, sign] of [
          [min, -1],
          [max, 1],
        ] as const) {
          const best = values.reduce<(typeof values)[number] | null>(
            (kept, value) =>
              kept === null || compareValues(value, kept, as, floats) * sign > 0 ? value : kept,
            null,
          )
          expect(result?.count).toBe(values.length)
          if (best === null || result?.value === null || typeof result?.value === 'string')
            expect(result?.value).toBe(best)
          else expect(compareValues(result?.value ?? Number.NaN, best, as, floats)).toBe(0)
        }
        if (attnum >= 2 && attnum <= 4) {
          const [sum] = await native.aggregate({
            ...request,
            aggregates: [{ kind: 'sum', attnum, as }],
          })
          const total = values.reduce<bigint>(
            (all, value) => all + BigInt(value as number | bigint),
            0n,
          )
          expect(sum?.value).toBe(values.length === 0 ? null : String(total))
        }
      },
    ),
    { numRuns: 150 },
  )
})

test('sums of floats and numerics', async () => {
  const sum = async (column: Column, as: SortKey['as'] = 'native') => {
    const segment = native.createSegment()
    segment.setColumn(1, column)
    const aggregates = [{ kind: 'sum', attnum: 1, as }] as const
    return (
      await native.aggregate({
        segments: [{ segment, rowCount: column.length }],
        readAt: 0,
        aggregates,
      })
    )[0]?.value
  }
  expect(await sum({ kind: 'float64', length: 3, values: Float64Array.of(0.1, 0.2, 0.3) })).toBe(
    0.1 + 0.2 + 0.3,
  )
  expect(await sum({ kind: 'float32', length: 2, values: Float32Array.of(16777216, 1) })).toBe(
    16777216,
  )
  await expect(
    sum({ kind: 'float64', length: 2, values: Float64Array.of(1e308, 1e308) }),
  ).rejects.toMatchObject({ code: '22003' })
  const numerics = (...values: Uint8Array[]) => {
    const offsets = Int32Array.from([
      0,
      ...values.map((_, i) => values.slice(0, i + 1).reduce((n, v) => n + v.length, 0)),
    ])
    return sum(
      { kind: 'bytes', length: values.length, values: Buffer.concat(values), offsets },
      'numeric',
    )
  }
  const cents = (sign: number, whole: number, hundredths: number) =>
    numericBytes(sign, 0, [whole, hundredths * 100], 2)
  expect(await numerics(cents(0, 12, 34), cents(0, 9999, 99))).toBe('10012.33')
  expect(await numerics(cents(0x4000, 12, 34), cents(0, 2, 30))).toBe('-10.04')
  expect(await numerics(cents(0x4000, 2, 30), cents(0, 2, 30))).toBe('0.00')
  expect(await numerics(numericBytes(0x4000, 2, [1], 0), numericBytes(0, 0, [1], 0))).toBe(
    '-99999999',
  )
  expect(await numerics(numericBytes(0xd000, 0, []), numericBytes(0xf000, 0, []))).toBe('NaN')
  expect(await numerics(numericBytes(0xd000, 0, []), cents(0, 1, 1))).toBe('Infinity')
})

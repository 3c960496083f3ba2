import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Column } from '#engine/columnar/column.js'
import { evaluateFilter } from '#engine/plan/filter-evaluate.js'
import { encodeFilter } from '#engine/plan/filter-program.js'
import { columnsArbitrary, filterArbitrary } from './native.arbitrary.js'
import { native } from './native.js'

function segmentOf(columns: ReadonlyMap<number, Column>) {
  const segment = native.createSegment()
  for (const [attnum, column] of columns) segment.setColumn(attnum, column)
  return segment
}

test('the native filter machine judges every row as the plain twin does', async () => {
  const arbitrary = fc.integer({ min: 0, max: 150 }).chain((rowCount) => columnsArbitrary(rowCount))
  await fc.assert(
    fc.asyncProperty(
      arbitrary,
      fc.array(filterArbitrary, { minLength: 1, maxLength: 8 }),
      async (columns, filters) => {
        const rowCount = columns.get(1)?.length ?? 0
        const segment = segmentOf(columns)
        for (const filter of filters) {
          const result = await native.filter({
            segments: [{ segment, rowCount }],
            readAt: 0,
            filter: encodeFilter(filter),
          })
          const bits = result.bitsets[0] ?? new Uint8Array()
          expect(bits.length).toBe(Math.ceil(rowCount / 8))
          let count = 0
          for (let row = 0; row < rowCount; row++) {
            const passes = evaluateFilter(filter, columns, row) === true
            expect(
              ((bits[row >> 3] ?? 0) >> (row & 7)) & 1,
              `row ${row} of ${JSON.stringify(filter, printable)}`,
            ).toBe(Number(passes))
            count += Number(passes)
          }
          expect(result.counts[0]).toBe(count)
        }
        segment.close()
      },
    ),
    { numRuns: 150 },
  )
})

function printable(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value
}

test('visibility and the allowed bitset narrow the result', async () => {
  const segment = native.createSegment()
  segment.setColumn(1, {
    kind: 'int32',
    length: 100,
    values: Int32Array.from({ length: 100 }, (_, i) => i),
  })
  const inserted = Float64Array.from({ length: 100 }, (_, i) => i)
  const deleted = Float64Array.from({ length: 100 }, (_, i) => (i % 2 ? 60 : Infinity))
  for (const stable of [false, true]) {
    segment.setTimestamps(inserted, deleted, stable)
    const filter = encodeFilter({
      op: 'compare',
      attnum: 1,
      comparison: '>=',
      as: 'native',
      value: 10,
    })
    const allowed = new Uint8Array(13).fill(0xff)
    allowed[3] = 0
    const at = async (readAt: number) =>
      (await native.filter({ segments: [{ segment, rowCount: 100, allowed }], readAt, filter }))
        .counts[0]
    expect(await at(59)).toBe(50 - 8)
    expect(await at(60)).toBe(25 + 1 - 4)
    expect(await at(1000)).toBe(45 - 4)
  }
})

test('programs that are not programs are refused', async () => {
  const segment = native.createSegment()
  segment.setColumn(1, { kind: 'bool', length: 8, values: new Uint8Array(8) })
  const good = encodeFilter({
    op: 'and',
    args: [
      { op: 'boolean', attnum: 1 },
      { op: 'in', attnum: 1, as: 'native', values: [1, 0], hasNull: true },
    ],
  })
  for (let length = 1; length < good.length; length++) {
    const filter = good.subarray(0, length)
    const call = async () =>
      native.filter({ segments: [{ segment, rowCount: 8 }], readAt: 0, filter })
    // A cut between two instructions may leave a program: it must be one of one value.
    await call().then(
      () => expect(length).toBe(4),
      (error: unknown) => expect(error).toMatchObject({ code: 'XX000' }),
    )
  }
})

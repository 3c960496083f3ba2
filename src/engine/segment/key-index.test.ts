import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Column } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { encodeKey, keyHasNull } from '#engine/columnar/key.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { KeyIndex, keyColumns } from '#engine/segment/key-index.js'
import { allKinds, columnSchema, rowsArbitrary } from '#engine/segment/segment.arbitrary.js'

function chain(index: KeyIndex, columns: readonly Column[], probe: readonly Column[], row: number) {
  const found: number[] = []
  for (let at = index.find(columns, probe, row); at >= 0; at = index.older(at)) found.push(at)
  return found
}

describe('a key index', () => {
  test('finds all rows with an equal key, newest first, for every kind, extended bit by bit', () => {
    const kinds = fc.subarray([...allKinds], { minLength: 1, maxLength: 2 })
    const cases = kinds.chain((chosen) => {
      const schemas = chosen.map((kind, i) => columnSchema(i + 1, kind))
      return fc.record({
        schemas: fc.constant(schemas),
        rows: rowsArbitrary(schemas, 60),
        steps: fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 5 }),
        nullsNotDistinct: fc.boolean(),
      })
    })
    fc.assert(
      fc.property(cases, ({ schemas, rows, steps, nullsNotDistinct }) => {
        const { columns, rowCount } = rows.batch
        const index = new KeyIndex(schemas, nullsNotDistinct)
        let at = 0
        for (const step of steps) {
          at = Math.min(rowCount, at + step)
          index.extend(columns, at)
        }
        index.extend(columns, rowCount)
        expect(index.rowCount).toBe(rowCount)
        const keys = Array.from({ length: rowCount }, (_, row) =>
          !nullsNotDistinct && keyHasNull(columns, row) ? null : encodeKey(columns, row),
        )
        const probe = keyColumns(
          schemas,
          keys.map((_, row) => columns.map((column) => readDatum(column, row))),
        )
        keys.forEach((key, row) => {
          const expected = keys.flatMap((other, i) => (key !== null && other === key ? [i] : []))
          expect(chain(index, columns, probe, row)).toEqual(expected.toReversed())
        })
      }),
      { numRuns: 200 },
    )
  })

  test('knows that numeric 1.0 is 1.00 and char(3) ignores trailing spaces', () => {
    const numeric = { ...columnSchema(1, 'bytes'), typeName: 'numeric' }
    const one = (scale: number) => Uint8Array.of(0, 1, 0, 0, 0, 0, 0, scale, 0, 1)
    const stored = keyColumns([numeric], [[one(1)]])
    const index = new KeyIndex([numeric], false)
    index.extend(stored, 1)
    expect(index.find(stored, keyColumns([numeric], [[one(2)]]), 0)).toBe(0)
    const char = { ...columnSchema(1, 'bytes'), typeName: 'bpchar' }
    const texts = keyColumns([char], [[Buffer.from('ab ')]])
    const chars = new KeyIndex([char], false)
    chars.extend(texts, 1)
    expect(chars.find(texts, keyColumns([char], [[Buffer.from('ab')]]), 0)).toBe(0)
  })

  test('of a row that was updated 300,000 times is made in linear time: else this runs into its time limit', () => {
    const builder = createColumnBuilder('int64')
    const rowCount = 300_000
    for (let i = 0; i < rowCount; i += 1) builder.appendDatum(new Uint8Array(8))
    const columns = [builder.view()]
    const index = new KeyIndex([columnSchema(1, 'int64')], false)
    index.extend(columns, rowCount)
    expect(index.find(columns, columns, 0)).toBe(rowCount - 1)
  })
})

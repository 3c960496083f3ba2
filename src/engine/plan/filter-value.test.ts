import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  float32Datum,
  float64Datum,
  int32Datum,
  int64Datum,
  vectorDatum,
} from '#engine/columnar/read-datum.js'
import { datumToFilterValue, filterValueToDatum } from '#engine/plan/filter-value.js'

const bytes = fc.uint8Array({ maxLength: 40 })
const shapedDatums = fc.oneof(
  fc.boolean().map((value) => ['bool', 0, new Uint8Array([value ? 1 : 0])] as const),
  fc.uint8Array({ minLength: 2, maxLength: 2 }).map((datum) => ['int16', 0, datum] as const),
  fc.integer().map((value) => ['int32', 0, int32Datum(value)] as const),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => {
    return ['int64', 0, int64Datum(value)] as const
  }),
  fc.float().map((value) => ['float32', 0, float32Datum(value)] as const),
  fc.double().map((value) => ['float64', 0, float64Datum(value)] as const),
  bytes.map((datum) => ['fixed', datum.length, datum] as const),
  bytes.map((datum) => ['bytes', 0, datum] as const),
  fc.array(fc.float({ noNaN: true }), { minLength: 1, maxLength: 5 }).map((values) => {
    return ['vector', values.length, vectorDatum(Float32Array.from(values))] as const
  }),
)

it('turns datums into filter constants and back', () => {
  fc.assert(
    fc.property(shapedDatums, ([kind, width, datum]) => {
      const shape = { kind, width }
      expect(filterValueToDatum(shape, datumToFilterValue(shape, datum))).toEqual(datum)
    }),
  )
})

it('refuses bytes of a wrong size', () => {
  expect(() => datumToFilterValue({ kind: 'int32', width: 0 }, new Uint8Array(3))).toThrow(
    'incorrect binary data format',
  )
})

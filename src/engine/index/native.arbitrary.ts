/** Random columns and filters, for the property tests of the native add-on. */
import fc from 'fast-check'
import type { Column } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'
import type { Comparison, FilterNode, FilterValue } from '#engine/plan/filter.js'

export const metrics: readonly Metric[] = ['l2', 'inner', 'cosine', 'l1']

/** A small generator of its own: the same numbers in every run. */
export function randomFloats(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export function randomVectors(count: number, dimensions: number, seed: number): Float32Array {
  const random = randomFloats(seed)
  const centres = Float32Array.from({ length: 32 * dimensions }, () => random() * 2 - 1)
  const values = new Float32Array(count * dimensions)
  for (let row = 0; row < count; row++) {
    const centre = Math.floor(random() * 32) * dimensions
    for (let i = 0; i < dimensions; i++) {
      values[row * dimensions + i] = (centres[centre + i] ?? 0) + (random() + random() - 1) * 1.5
    }
  }
  return values
}

/** PostgreSQL's numeric_send. `special`: the sign word of NaN or an infinity. */
export function numericBytes(
  sign: number,
  weight: number,
  digits: readonly number[],
  scale = 0,
): Uint8Array {
  const bytes = new Uint8Array(8 + 2 * digits.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, digits.length)
  view.setInt16(2, weight)
  view.setUint16(4, sign)
  view.setUint16(6, scale)
  digits.forEach((digit, i) => {
    view.setUint16(8 + 2 * i, digit)
  })
  return bytes
}

const validity = (rows: number): fc.Arbitrary<Uint8Array | undefined> =>
  fc.option(fc.uint8Array({ minLength: Math.ceil(rows / 8), maxLength: Math.ceil(rows / 8) }), {
    nil: undefined,
  })

const int16 = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer({ min: -32768, max: 32767 }))
const int32 = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer())
const int64 = fc.oneof(
  fc.bigInt({ min: -3n, max: 3n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
)
const float = fc.oneof(
  fc.constantFrom(0, -0, 1, 2.5, -2.5, Number.NaN, Infinity, -Infinity),
  fc.double(),
)
const text = fc.oneof(
  fc.constantFrom('', 'a', 'ab', 'abc', 'aß', 'ßa', 'a%', '\\', '日本', 'aab'),
  fc.string({ unit: fc.constantFrom('a', 'b', 'ß', '%', '_', '\\', '😀'), maxLength: 6 }),
)
const numeric = fc.oneof(
  fc.constantFrom(0xc000, 0xd000, 0xf000).map((sign) => numericBytes(sign, 0, [])),
  fc
    .record({
      sign: fc.constantFrom(0, 0x4000),
      weight: fc.integer({ min: -2, max: 2 }),
      digits: fc.array(fc.oneof(fc.constantFrom(0, 1, 9999), fc.integer({ min: 0, max: 9999 })), {
        maxLength: 3,
      }),
    })
    .map(({ sign, weight, digits }) => numericBytes(sign, weight, digits)),
)

function bytesColumn(values: readonly Uint8Array[], valid: Uint8Array | undefined): Column {
  const offsets = new Int32Array(values.length + 1)
  values.forEach((value, i) => {
    offsets[i + 1] = (offsets[i] ?? 0) + value.length
  })
  return withValidity(
    { kind: 'bytes', length: values.length, values: Buffer.concat(values), offsets },
    valid,
  )
}

function withValidity(column: Column, valid: Uint8Array | undefined): Column {
  return valid === undefined ? column : { ...column, validity: valid }
}

export const attnums = {
  bool: 1,
  int16: 2,
  int32: 3,
  int64: 4,
  float32: 5,
  float64: 6,
  text: 7,
  numeric: 8,
  uuid: 9,
  otherText: 10,
  vector: 11,
  otherInt: 12,
}

/** One column of every kind, under the attribute numbers above. */
export function columnsArbitrary(rows: number): fc.Arbitrary<Map<number, Column>> {
  const list = <T>(values: fc.Arbitrary<T>) =>
    fc.array(values, { minLength: rows, maxLength: rows })
  const utf8 = list(text.map((value) => Uint8Array.from(Buffer.from(value))))
  return fc
    .record({
      bool: list(fc.integer({ min: 0, max: 1 })),
      int16: list(int16),
      int32: list(int32),
      int64: list(int64),
      float32: list(float),
      float64: list(float),
      text: utf8,
      otherText: utf8,
      numeric: list(numeric),
      otherInt: list(int64),
      uuid: list(fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 })),
      vector: list(fc.array(fc.constantFrom(0, 1, -1, 0.5), { minLength: 3, maxLength: 3 })),
      validity: fc.array(validity(rows), { minLength: 12, maxLength: 12 }),
    })
    .map((v) => {
      const column = (attnum: number, made: Column): [number, Column] => [
        attnum,
        withValidity(made, v.validity[attnum - 1]),
      ]
      return new Map<number, Column>([
        column(1, { kind: 'bool', length: rows, values: Uint8Array.from(v.bool) }),
        column(2, { kind: 'int16', length: rows, values: Int16Array.from(v.int16) }),
        column(3, { kind: 'int32', length: rows, values: Int32Array.from(v.int32) }),
        column(4, { kind: 'int64', length: rows, values: BigInt64Array.from(v.int64) }),
        column(5, { kind: 'float32', length: rows, values: Float32Array.from(v.float32) }),
        column(6, { kind: 'float64', length: rows, values: Float64Array.from(v.float64) }),
        [7, bytesColumn(v.text, v.validity[6])],
        [8, bytesColumn(v.numeric, v.validity[7])],
        column(9, {
          kind: 'fixed',
          width: 16,
          length: rows,
          values: Uint8Array.from(v.uuid.flatMap((u) => [...u])),
        }),
        [10, bytesColumn(v.otherText, v.validity[9])],
        column(11, {
          kind: 'vector',
          dimensions: 3,
          length: rows,
          values: Float32Array.from(v.vector.flat()),
        }),
        column(12, { kind: 'int64', length: rows, values: BigInt64Array.from(v.otherInt) }),
      ])
    })
}

const comparison = fc.constantFrom<Comparison>('=', '<>', '<', '<=', '>', '>=')
const bytes = text.map((value): FilterValue => Uint8Array.from(Buffer.from(value)))
const likeSafe = text.filter((value) => !/(^|[^\\])(\\\\)*\\$/.test(value))

interface Comparable {
  readonly attnum: number
  readonly as: 'native' | 'bytes' | 'numeric'
  readonly value: fc.Arbitrary<FilterValue>
}
const comparables: readonly Comparable[] = [
  { attnum: 1, as: 'native', value: fc.integer({ min: 0, max: 1 }) },
  { attnum: 2, as: 'native', value: fc.oneof(int16, fc.constantFrom(2.5, 70000, -70000)) },
  { attnum: 3, as: 'native', value: fc.oneof(int32, fc.constantFrom(-2.5, 5e9, -5e9)) },
  { attnum: 4, as: 'native', value: fc.oneof(int64, int32) },
  { attnum: 5, as: 'native', value: fc.oneof(float, float.map(Math.fround)) },
  { attnum: 6, as: 'native', value: float },
  { attnum: 7, as: 'bytes', value: bytes },
  { attnum: 8, as: 'numeric', value: numeric },
  { attnum: 9, as: 'bytes', value: fc.uint8Array({ minLength: 16, maxLength: 16, max: 1 }) },
]

const leaf: fc.Arbitrary<FilterNode> = fc.oneof(
  fc.constantFrom(true, false, null).map((value): FilterNode => ({ op: 'constant', value })),
  fc.integer({ min: 1, max: 12 }).map((attnum): FilterNode => ({ op: 'isNull', attnum })),
  fc.constant<FilterNode>({ op: 'boolean', attnum: 1 }),
  ...comparables.map(({ attnum, as, value }) =>
    fc.record({ comparison, value }).map((c): FilterNode => ({ op: 'compare', attnum, as, ...c })),
  ),
  ...comparables.map(({ attnum, as, value }) =>
    fc
      .record({ values: fc.array(value, { maxLength: 20 }), hasNull: fc.boolean() })
      .map((c): FilterNode => ({ op: 'in', attnum, as, ...c })),
  ),
  likeSafe.map(
    (pattern): FilterNode => ({
      op: 'like',
      attnum: 7,
      pattern: Uint8Array.from(Buffer.from(pattern)),
    }),
  ),
  comparison.map(
    (c): FilterNode => ({
      op: 'compareColumns',
      attnum: 7,
      otherAttnum: 10,
      as: 'bytes',
      comparison: c,
    }),
  ),
  comparison.map(
    (c): FilterNode => ({
      op: 'compareColumns',
      attnum: 4,
      otherAttnum: 12,
      as: 'native',
      comparison: c,
    }),
  ),
  comparison.map(
    (c): FilterNode => ({
      op: 'compareColumns',
      attnum: 3,
      otherAttnum: 6,
      as: 'native',
      comparison: c,
    }),
  ),
  fc
    .record({
      comparison,
      metric: fc.constantFrom(...metrics),
      radius: fc.constantFrom(0, 0.5, 1, Number.NaN),
    })
    .map(
      (c): FilterNode => ({ op: 'distance', attnum: 11, query: Float32Array.of(1, 0, 0.5), ...c }),
    ),
)

export const filterArbitrary: fc.Arbitrary<FilterNode> = fc.letrec<{ node: FilterNode }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.array(tie('node'), { maxLength: 4 }).map((args): FilterNode => ({ op: 'and', args })),
    fc.array(tie('node'), { maxLength: 4 }).map((args): FilterNode => ({ op: 'or', args })),
    tie('node').map((arg): FilterNode => ({ op: 'not', arg })),
  ),
})).node

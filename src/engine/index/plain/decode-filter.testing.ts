/** Reads filter programs (engine/plan/filter-program.ts draws them) back as trees, as native/filter.cc does. */
import type { Metric } from '#engine/columnar/schema.js'
import type { CompareAs, Comparison, FilterNode, FilterValue } from '#engine/plan/filter.js'
import { nativeError } from './native-error.testing.js'

const comparisons: readonly Comparison[] = ['=', '<>', '<', '<=', '>', '>=']
const orders: readonly CompareAs[] = ['native', 'bytes', 'numeric']
const metrics: readonly Metric[] = ['l2', 'inner', 'cosine', 'l1']
const truths = [false, true, null] as const

function malformed(): Error {
  return nativeError('XX000', 'malformed filter program')
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  #take(size: number): number {
    const at = this.#at
    if (this.left < size) throw malformed()
    this.#at += size
    return at
  }
  get left(): number {
    return this.#bytes.length - this.#at
  }
  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }
  i16(): number {
    return this.#view.getInt16(this.#take(2), true)
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }
  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true)
  }
  f64(): number {
    return this.#view.getFloat64(this.#take(8), true)
  }
  f32s(count: number): Float32Array {
    const at = this.#take(4 * count)
    return Float32Array.from({ length: count }, (_, i) => this.#view.getFloat32(at + 4 * i, true))
  }
  bytes(): Uint8Array {
    const length = this.u32()
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }
  /** A byte as one of the words it may stand for. */
  word<T>(words: readonly T[]): T {
    const value = this.u8()
    if (value >= words.length) throw malformed()
    return words[value] as T
  }
}

function readConstant(from: Reader): FilterValue {
  switch (from.word(['f64', 'i64', 'bytes'] as const)) {
    case 'f64':
      return from.f64()
    case 'i64':
      return from.i64()
    case 'bytes':
      return from.bytes()
  }
}

function readNode(from: Reader, stack: FilterNode[]): FilterNode {
  const take = (count: number): FilterNode[] => {
    if (count > stack.length) throw malformed()
    return stack.splice(stack.length - count, count)
  }
  switch (from.u8()) {
    case 1:
      return { op: 'and', args: take(from.u16()) }
    case 2:
      return { op: 'or', args: take(from.u16()) }
    case 3: {
      const [arg] = take(1)
      if (arg === undefined) throw malformed()
      return { op: 'not', arg }
    }
    case 4:
      return { op: 'constant', value: from.word(truths) }
    case 5:
      return { op: 'isNull', attnum: from.i16() }
    case 6:
      return { op: 'boolean', attnum: from.i16() }
    case 7: {
      const attnum = from.i16()
      const comparison = from.word(comparisons)
      const as = from.word(orders)
      return { op: 'compare', attnum, comparison, as, value: readConstant(from) }
    }
    case 8: {
      const attnum = from.i16()
      const as = from.word(orders)
      const hasNull = from.word([false, true])
      const count = from.u32()
      if (count > from.left) throw malformed()
      const values = Array.from({ length: count }, () => readConstant(from))
      return { op: 'in', attnum, as, values, hasNull }
    }
    case 9: {
      const attnum = from.i16()
      return { op: 'like', attnum, pattern: from.bytes() }
    }
    case 10: {
      const attnum = from.i16()
      const comparison = from.word(comparisons)
      const as = from.word(orders)
      return { op: 'compareColumns', attnum, comparison, as, otherAttnum: from.i16() }
    }
    case 11: {
      const attnum = from.i16()
      const metric = from.word(metrics)
      const comparison = from.word(comparisons)
      const radius = from.f64()
      const count = from.u32()
      if (count > from.left / 4) throw malformed()
      return { op: 'distance', attnum, metric, comparison, radius, query: from.f32s(count) }
    }
    default:
      throw malformed()
  }
}

/** @throws XX000 for bytes that are no program */
export function decodeFilter(program: Uint8Array): FilterNode {
  const from = new Reader(program)
  if (from.u8() !== 1) throw nativeError('XX000', 'unknown version of filter program')
  const stack: FilterNode[] = []
  while (from.left > 0) stack.push(readNode(from, stack))
  const [root] = stack
  if (root === undefined || stack.length !== 1) throw malformed()
  return root
}

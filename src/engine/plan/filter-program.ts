/**
 * Filters as bytes for the native filter machine (native/filter.cc reads them). A postfix program: operands first, then
 * the operator. Little-endian, unaligned.
 *
 *   program       u8 version (1), then instructions to the end; exactly one truth value must remain
 *   instruction   u8 opcode, then
 *      1 and               u16 count of operands (0: true)
 *      2 or                u16 count of operands (0: false)
 *      3 not
 *      4 constant          u8: 0 false, 1 true, 2 null
 *      5 isNull            i16 attnum
 *      6 boolean           i16 attnum
 *      7 compare           i16 attnum, u8 comparison, u8 as, constant
 *      8 in                i16 attnum, u8 as, u8 hasNull, u32 count, constants
 *      9 like              i16 attnum, u32 length, pattern bytes
 *     10 compareColumns    i16 attnum, u8 comparison, u8 as, i16 other attnum
 *     11 distance          i16 attnum, u8 metric, u8 comparison, f64 radius, u32 dimensions, f32 query values
 *   constant      u8 tag, then   0 f64   1 i64   2 u32 length, bytes
 *   comparison    0 =   1 <>   2 <   3 <=   4 >   5 >=
 *   as            0 native   1 bytes   2 numeric
 *   metric        0 l2   1 inner   2 cosine   3 l1
 */
import type { Metric } from '#engine/columnar/schema.js'
import type { CompareAs, Comparison, FilterNode, FilterValue } from './filter.js'

const VERSION = 1
const COMPARISONS: Record<Comparison, number> = {
  '=': 0,
  '<>': 1,
  '<': 2,
  '<=': 3,
  '>': 4,
  '>=': 5,
}
const COMPARE_AS: Record<CompareAs, number> = { native: 0, bytes: 1, numeric: 2 }
const METRICS: Record<Metric, number> = { l2: 0, inner: 1, cosine: 2, l1: 3 }

class Writer {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  #room(size: number): number {
    const at = this.#at
    if (at + size > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, at + size))
      grown.set(this.#bytes)
      this.#bytes = grown
      this.#view = new DataView(grown.buffer)
    }
    this.#at = at + size
    return at
  }
  u8(value: number): void {
    const at = this.#room(1)
    this.#view.setUint8(at, value)
  }
  u16(value: number): void {
    const at = this.#room(2)
    this.#view.setUint16(at, value, true)
  }
  i16(value: number): void {
    const at = this.#room(2)
    this.#view.setInt16(at, value, true)
  }
  u32(value: number): void {
    const at = this.#room(4)
    this.#view.setUint32(at, value, true)
  }
  i64(value: bigint): void {
    const at = this.#room(8)
    this.#view.setBigInt64(at, value, true)
  }
  f64(value: number): void {
    const at = this.#room(8)
    this.#view.setFloat64(at, value, true)
  }
  f32s(values: Float32Array): void {
    const at = this.#room(4 * values.length)
    for (let i = 0; i < values.length; i++) this.#view.setFloat32(at + 4 * i, values[i] ?? 0, true)
  }
  bytes(value: Uint8Array): void {
    this.u32(value.length)
    const at = this.#room(value.length)
    this.#bytes.set(value, at)
  }
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }
}

function writeConstant(out: Writer, value: FilterValue): void {
  if (typeof value === 'number') {
    out.u8(0)
    out.f64(value)
  } else if (typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) !== value) throw new RangeError('filter constant out of int64')
    out.u8(1)
    out.i64(value)
  } else {
    out.u8(2)
    out.bytes(value)
  }
}

function writeNode(out: Writer, node: FilterNode): void {
  switch (node.op) {
    case 'and':
    case 'or':
      if (node.args.length > 0xffff) throw new RangeError('too many operands in a filter')
      for (const arg of node.args) writeNode(out, arg)
      out.u8(node.op === 'and' ? 1 : 2)
      out.u16(node.args.length)
      return
    case 'not':
      writeNode(out, node.arg)
      out.u8(3)
      return
    case 'constant':
      out.u8(4)
      out.u8(node.value === null ? 2 : Number(node.value))
      return
    case 'isNull':
      out.u8(5)
      out.i16(node.attnum)
      return
    case 'boolean':
      out.u8(6)
      out.i16(node.attnum)
      return
    case 'compare':
      out.u8(7)
      out.i16(node.attnum)
      out.u8(COMPARISONS[node.comparison])
      out.u8(COMPARE_AS[node.as])
      writeConstant(out, node.value)
      return
    case 'in':
      out.u8(8)
      out.i16(node.attnum)
      out.u8(COMPARE_AS[node.as])
      out.u8(Number(node.hasNull))
      out.u32(node.values.length)
      for (const value of node.values) writeConstant(out, value)
      return
    case 'like':
      out.u8(9)
      out.i16(node.attnum)
      out.bytes(node.pattern)
      return
    case 'compareColumns':
      out.u8(10)
      out.i16(node.attnum)
      out.u8(COMPARISONS[node.comparison])
      out.u8(COMPARE_AS[node.as])
      out.i16(node.otherAttnum)
      return
    case 'distance':
      out.u8(11)
      out.i16(node.attnum)
      out.u8(METRICS[node.metric])
      out.u8(COMPARISONS[node.comparison])
      out.f64(node.radius)
      out.u32(node.query.length)
      out.f32s(node.query)
      return
  }
  node satisfies never
}

/** @throws RangeError for a bigint constant outside of int64 or more than 65535 operands of one AND or OR. */
export function encodeFilter(node: FilterNode): Uint8Array {
  const out = new Writer()
  out.u8(VERSION)
  writeNode(out, node)
  return out.finish()
}

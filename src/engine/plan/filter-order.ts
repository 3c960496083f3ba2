/** How values are ordered, in plain loops: the judge of native/order.cc. Less than zero, zero, greater than zero. */

/** memcmp, then length. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length)
  for (let i = 0; i < n; i++) {
    const d = (a[i] ?? 0) - (b[i] ?? 0)
    if (d !== 0) return d
  }
  return a.length - b.length
}

/** PostgreSQL's order of floats: NaN equals NaN and is greater than everything; -0 = 0. */
export function compareFloats(a: number, b: number): number {
  if (a < b) return -1
  if (a > b) return 1
  if (a === b) return 0
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
}

interface Numeric {
  /** -1 -infinity, 0 finite, 1 infinity, 2 NaN: the order of the classes. */
  readonly kind: number
  readonly sign: number
  readonly weight: number
  readonly digits: readonly number[]
}

/** numeric_send: int16 ndigits, weight, sign, dscale, then base-10000 digits, big-endian. Malformed reads as zero. */
function readNumeric(bytes: Uint8Array): Numeric {
  const zero = { kind: 0, sign: 0, weight: 0, digits: [] }
  if (bytes.length < 8) return zero
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const sign = view.getUint16(4)
  if (sign === 0xc000) return { ...zero, kind: 2 }
  if (sign === 0xd000) return { ...zero, kind: 1 }
  if (sign === 0xf000) return { ...zero, kind: -1 }
  const count = Math.min(view.getUint16(0), (bytes.length - 8) >> 1)
  let weight = view.getInt16(2)
  const digits: number[] = []
  for (let i = 0; i < count; i++) digits.push(view.getUint16(8 + 2 * i))
  while (digits.length > 0 && digits[0] === 0) {
    digits.shift()
    weight--
  }
  if (digits.length === 0) return zero
  return { kind: 0, sign: sign === 0x4000 ? -1 : 1, weight, digits }
}

/** PostgreSQL's binary numerics by value: -infinity < numbers < infinity < NaN. */
export function compareNumerics(left: Uint8Array, right: Uint8Array): number {
  const a = readNumeric(left)
  const b = readNumeric(right)
  if (a.kind !== b.kind) return a.kind - b.kind
  if (a.kind !== 0) return 0
  if (a.sign !== b.sign) return a.sign - b.sign
  if (a.sign === 0) return 0
  if (a.weight !== b.weight) return (a.weight - b.weight) * a.sign
  const n = Math.max(a.digits.length, b.digits.length)
  for (let i = 0; i < n; i++) {
    const d = (a.digits[i] ?? 0) - (b.digits[i] ?? 0)
    if (d !== 0) return d * a.sign
  }
  return 0
}

/**
 * Values as bytes: what contracts pass between nodes. Drawn in docs/formats/rpc-values.md. Little-endian.
 *
 *   message  u8 version · value
 *   value    u8 tag · what the tag says:
 *            undefined, null, false, true   nothing
 *            number    f64                       bigint    u32 bytes · decimal digits
 *            string    u32 bytes · UTF-8         array     u32 count · values
 *            object    u32 count · (string without tag · value) each, undefined ones left out
 *            map       u32 count · (value · value) each   set   u32 count · values
 *            typed     u8 kind · u32 bytes · padding to a multiple of 8 from the message's beginning · elements
 *
 * Typed arrays are copied once on each side: they carry the batches, everything else is small. Decoding trusts nothing: lengths
 * are checked against what is there, depth is bounded, and names of objects cannot reach a prototype.
 */
import { DatabaseError, SqlState } from '#base/errors.js'

const version = 1
const depthMax = 64

const tag = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  bigint: 5,
  string: 6,
  array: 7,
  object: 8,
  map: 9,
  set: 10,
  typed: 11,
} as const

type TypedArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array

type TypedArrayConstructor = {
  readonly BYTES_PER_ELEMENT: number
  new (buffer: ArrayBuffer, offset: number, length: number): TypedArray
}

/** By kind number: never reordered. */
const typedKinds: readonly TypedArrayConstructor[] = [
  Uint8Array,
  Int8Array,
  Uint16Array,
  Int16Array,
  Uint32Array,
  Int32Array,
  BigUint64Array,
  BigInt64Array,
  Float32Array,
  Float64Array,
]

/** @throws TypeError for functions, symbols and objects of classes (but Map, Set and typed arrays) */
export function encodeValue(value: unknown): Uint8Array {
  const writer = new ValueWriter()
  writer.u8(version)
  writer.value(value, 0)
  return writer.finish()
}

/** @throws 08P01 when the bytes are no value */
export function decodeValue(bytes: Uint8Array): unknown {
  const reader = new ValueReader(bytes)
  try {
    if (reader.u8() !== version) throw malformed('unknown version')
    const value = reader.value(0)
    reader.end()
    return value
  } catch (error) {
    if (error instanceof RangeError) throw malformed('cut short')
    throw error
  }
}

class ValueWriter {
  #bytes = Buffer.allocUnsafe(256)
  #length = 0

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #room(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#length, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
    }
    return at
  }

  u8(value: number): void {
    const at = this.#room(1)
    this.#bytes[at] = value
  }

  #u32(value: number): void {
    const at = this.#room(4)
    this.#bytes.writeUInt32LE(value, at)
  }

  #text(value: string): void {
    const size = Buffer.byteLength(value)
    this.#u32(size)
    const at = this.#room(size)
    this.#bytes.write(value, at)
  }

  value(value: unknown, depth: number): void {
    if (depth > depthMax) throw new TypeError('a value nested too deeply')
    if (value === undefined) this.u8(tag.undefined)
    else if (value === null) this.u8(tag.null)
    else if (value === true) this.u8(tag.true)
    else if (value === false) this.u8(tag.false)
    else if (typeof value === 'object') this.#object(value, depth)
    else this.#scalar(value)
  }

  #scalar(value: unknown): void {
    switch (typeof value) {
      case 'number': {
        this.u8(tag.number)
        const at = this.#room(8)
        this.#bytes.writeDoubleLE(value, at)
        break
      }
      case 'bigint':
        this.u8(tag.bigint)
        this.#text(value.toString())
        break
      case 'string':
        this.u8(tag.string)
        this.#text(value)
        break
      default:
        throw new TypeError(`a ${typeof value} does not travel`)
    }
  }

  #object(value: object, depth: number): void {
    if (ArrayBuffer.isView(value)) {
      this.#typed(value)
      return
    }
    if (Array.isArray(value)) {
      this.u8(tag.array)
      this.#u32(value.length)
      for (const element of value) this.value(element, depth + 1)
      return
    }
    if (value instanceof Map) {
      this.u8(tag.map)
      this.#u32(value.size)
      for (const [key, element] of value) {
        this.value(key, depth + 1)
        this.value(element, depth + 1)
      }
      return
    }
    if (value instanceof Set) {
      this.u8(tag.set)
      this.#u32(value.size)
      for (const element of value) this.value(element, depth + 1)
      return
    }
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null) {
      throw new TypeError(`an object of class ${value.constructor.name} does not travel`)
    }
    const entries = Object.entries(value).filter(([, element]) => element !== undefined)
    this.u8(tag.object)
    this.#u32(entries.length)
    for (const [name, element] of entries) {
      this.#text(name)
      this.value(element, depth + 1)
    }
  }

  #typed(value: ArrayBufferView): void {
    // A Buffer is a Uint8Array.
    const kind = typedKinds.findIndex((elements) => value instanceof elements)
    if (kind < 0) throw new TypeError('a DataView does not travel')
    this.u8(tag.typed)
    this.u8(kind)
    this.#u32(value.byteLength)
    const padding = (8 - (this.#length % 8)) % 8
    // Room may be made in another buffer: asked for before the buffer is.
    const from = this.#room(padding)
    this.#bytes.fill(0, from, from + padding)
    const at = this.#room(value.byteLength)
    this.#bytes.set(new Uint8Array(value.buffer, value.byteOffset, value.byteLength), at)
  }
}

class ValueReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed('longer than its value')
  }

  #take(count: number): number {
    const at = this.#at
    if (at + count > this.#bytes.length) throw malformed('cut short')
    this.#at += count
    return at
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1))
  }

  #u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4))
  }

  /** Every element has a byte at least: a count beyond what is left is a lie, and nothing is allocated for it. */
  #count(): number {
    const count = this.#u32()
    if (count > this.#bytes.length - this.#at) throw malformed('cut short')
    return count
  }

  #text(): string {
    const size = this.#u32()
    const at = this.#take(size)
    return this.#bytes.toString('utf8', at, at + size)
  }

  value(depth: number): unknown {
    if (depth > depthMax) throw malformed('nested too deeply')
    const found = this.u8()
    switch (found) {
      case tag.undefined:
        return undefined
      case tag.null:
        return null
      case tag.false:
        return false
      case tag.true:
        return true
      case tag.number:
        return this.#bytes.readDoubleLE(this.#take(8))
      case tag.bigint:
        return this.#bigint()
      case tag.string:
        return this.#text()
      case tag.array:
        return Array.from({ length: this.#count() }, () => this.value(depth + 1))
      case tag.object:
        return this.#object(depth)
      case tag.map: {
        const map = new Map<unknown, unknown>()
        for (let left = this.#count(); left > 0; left -= 1) {
          map.set(this.value(depth + 1), this.value(depth + 1))
        }
        return map
      }
      case tag.set:
        return new Set(Array.from({ length: this.#count() }, () => this.value(depth + 1)))
      case tag.typed:
        return this.#typed()
      default:
        throw malformed(`unknown tag ${found}`)
    }
  }

  #bigint(): bigint {
    const digits = this.#text()
    if (!/^-?\d{1,400}$/.test(digits)) throw malformed('not a number')
    return BigInt(digits)
  }

  #object(depth: number): object {
    const entries: [string, unknown][] = []
    for (let left = this.#count(); left > 0; left -= 1) {
      const name = this.#text()
      if (name === '__proto__') throw malformed('a forbidden name')
      entries.push([name, this.value(depth + 1)])
    }
    return Object.fromEntries(entries)
  }

  #typed(): TypedArray {
    const elements = typedKinds[this.u8()]
    const size = this.#u32()
    this.#take((8 - (this.#at % 8)) % 8)
    if (elements === undefined || size % elements.BYTES_PER_ELEMENT !== 0) {
      throw malformed('not a typed array')
    }
    const at = this.#take(size)
    // Aligned, and not kept alive by the message it came in.
    const copy = new Uint8Array(size)
    copy.set(this.#bytes.subarray(at, at + size))
    return new elements(copy.buffer, 0, size / elements.BYTES_PER_ELEMENT)
  }
}

function malformed(what: string): DatabaseError {
  return new DatabaseError(SqlState.protocolViolation, `malformed message of another node: ${what}`)
}

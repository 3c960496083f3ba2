import { DatabaseError, SqlState } from '#base/errors.js'

/** PostgreSQL's MaxAllocSize: no message is longer. */
const messageBytesMax = 0x3fff_ffff
const initialBytes = 4096
/** Up to here a string is tried as ASCII, character by character; a call into native code costs more. */
const shortTextLength = 32

/**
 * Messages one behind the other in a growing buffer; integers big-endian.
 * begin(type) … end() frame one message and fill in its length; an error in between is undone by abandon().
 */
export class ByteWriter {
  #bytes: Buffer
  #length = 0
  /** Where the open message began, or -1. */
  #messageStart = -1

  constructor(capacity = initialBytes) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity)
  }

  get length(): number {
    return this.#length
  }

  /** Starts a message. */
  begin(type: number): void {
    this.#reserve(5)
    this.#messageStart = this.#length
    this.#bytes[this.#length] = type
    this.#length += 5
  }

  /** Starts a packet without type byte (startup phase). */
  beginUntyped(): void {
    this.#reserve(4)
    this.#messageStart = this.#length - 1 // the length field lies one behind the start
    this.#length += 4
  }

  end(): void {
    const lengthAt = this.#messageStart + 1
    this.#bytes.writeInt32BE(this.#length - lengthAt, lengthAt)
    this.#messageStart = -1
  }

  /** Drops a message that was begun and not ended. */
  abandon(): void {
    if (this.#messageStart < 0) return
    this.#length = this.#messageStart
    this.#messageStart = -1
  }

  uint8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length] = value
    this.#length += 1
  }

  int16(value: number): void {
    this.#reserve(2)
    this.#bytes[this.#length] = value >>> 8
    this.#bytes[this.#length + 1] = value
    this.#length += 2
  }

  /** Also for unsigned values (OIDs): the bits are the same. */
  int32(value: number): void {
    this.#reserve(4)
    const at = this.#length
    this.#bytes[at] = value >>> 24
    this.#bytes[at + 1] = value >>> 16
    this.#bytes[at + 2] = value >>> 8
    this.#bytes[at + 3] = value
    this.#length = at + 4
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  /** UTF-8 without terminator. */
  text(value: string): void {
    this.#reserve(utf8BytesMax(value))
    this.#length += this.#writeText(value)
  }

  /** UTF-8 and a zero byte; what follows a zero inside the string is cut, as C would. */
  cString(value: string): void {
    const zero = value.indexOf('\0')
    this.text(zero < 0 ? value : value.slice(0, zero))
    this.uint8(0)
  }

  /** int32 length, then UTF-8. */
  textWithLength(value: string): void {
    this.#reserve(4 + utf8BytesMax(value))
    const lengthAt = this.#length
    this.#length += 4
    const written = this.#writeText(value)
    this.#bytes.writeInt32BE(written, lengthAt)
    this.#length += written
  }

  /** int32 length, then the bytes. */
  bytesWithLength(value: Uint8Array): void {
    this.int32(value.length)
    this.bytes(value)
  }

  /** A view of everything written; valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Forgets what was written and keeps the memory: only when nobody reads view() any more. */
  clear(): void {
    this.#length = 0
    this.#messageStart = -1
  }

  /** Hands everything over; the writer goes on with new memory. */
  take(): Uint8Array {
    const taken = this.view()
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(initialBytes, Math.min(taken.length, 65_536)))
    this.clear()
    return taken
  }

  /** Bytes written at the end; space must be reserved. */
  #writeText(value: string): number {
    const { length } = value
    if (length > shortTextLength) return this.#bytes.write(value, this.#length, 'utf8')
    const start = this.#length
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index)
      if (code > 0x7f) return this.#bytes.write(value, start, 'utf8')
      this.#bytes[start + index] = code
    }
    return length
  }

  #reserve(count: number): void {
    const needed = this.#length + count
    if (needed > this.#bytes.length) this.#grow(needed, count)
  }

  #grow(needed: number, count: number): void {
    const messageBytes = this.#messageStart < 0 ? 0 : this.#length - this.#messageStart
    if (messageBytes + count > messageBytesMax) {
      throw new DatabaseError(
        SqlState.programLimitExceeded,
        `string buffer exceeds maximum allowed length (${messageBytesMax} bytes)`,
        {
          detail: `Cannot enlarge string buffer containing ${messageBytes} bytes by ${count} more bytes.`,
        },
      )
    }
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}

/** Bytes that suffice for the text: a cheap bound for short ones, the exact count where a bound would waste memory. */
function utf8BytesMax(value: string): number {
  return value.length < 16_384 ? value.length * 3 : Buffer.byteLength(value, 'utf8')
}

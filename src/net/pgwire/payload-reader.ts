import { DatabaseError, SqlState } from '#base/errors.js'

/** 08P01 that ends the connection: client and server no longer agree where messages begin. */
export function protocolViolation(message: string, detail?: string): DatabaseError {
  return new DatabaseError(SqlState.protocolViolation, message, {
    severity: 'FATAL',
    ...(detail === undefined ? {} : { detail }),
  })
}

/** Names are mostly empty or short: a loop of this many bytes is tried before asking indexOf. */
const shortStringBytes = 24

/**
 * Reads the fields of one message body; the errors are those of PostgreSQL's pqformat.c.
 * One reader serves many messages: reset() it for each.
 */
export class PayloadReader {
  #bytes: Buffer = Buffer.alloc(0)
  #offset = 0
  #end = 0

  /** Reads `bytes` from `start` up to and without `end`. */
  reset(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes
    this.#offset = start
    this.#end = end
  }

  get remaining(): number {
    return this.#end - this.#offset
  }

  uint8(): number {
    if (this.#offset >= this.#end) throw protocolViolation('no data left in message')
    const value = this.#bytes[this.#offset] ?? 0
    this.#offset += 1
    return value
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#advance(2))
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#advance(4))
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4))
  }

  /** A view of the next `count` bytes. */
  bytes(count: number): Uint8Array {
    const start = this.#advance(count)
    return this.#bytes.subarray(start, start + count)
  }

  /** Everything that is left, as a view. */
  rest(): Uint8Array {
    return this.bytes(this.remaining)
  }

  /** A zero-terminated string; bytes that are not UTF-8 become U+FFFD (see invalidUtf8 in text.ts). */
  cString(): string {
    const start = this.#offset
    const end = this.#terminator(start)
    this.#offset = end + 1
    return start === end ? '' : this.#bytes.toString('utf8', start, end)
  }

  /** As cString, but the bytes. */
  cStringBytes(): Uint8Array {
    const start = this.#offset
    const end = this.#terminator(start)
    this.#offset = end + 1
    return this.#bytes.subarray(start, end)
  }

  /** @throws 08P01 when something is left. */
  finish(): void {
    if (this.#offset !== this.#end) throw protocolViolation('invalid message format')
  }

  #advance(count: number): number {
    const start = this.#offset
    if (count < 0 || count > this.#end - start) {
      throw protocolViolation('insufficient data left in message')
    }
    this.#offset = start + count
    return start
  }

  #terminator(start: number): number {
    const shortEnd = Math.min(this.#end, start + shortStringBytes)
    for (let at = start; at < shortEnd; at += 1) if (this.#bytes[at] === 0) return at
    const at = this.#bytes.indexOf(0, shortEnd)
    if (at < 0 || at >= this.#end) throw protocolViolation('invalid string in message')
    return at
  }
}

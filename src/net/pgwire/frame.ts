import type { FrontendMessage } from '#net/pgwire/message.js'
import { FrontendType, parseMessage, parseStartupPacket } from '#net/pgwire/parse-frontend.js'
import { PayloadReader, protocolViolation } from '#net/pgwire/payload-reader.js'

/**
 * Bytes of a client in, messages out; knows no socket.
 *
 * Layout of a message (protocol-message-formats), integers big-endian:
 *
 *   offset  size  meaning
 *   0       1     type; absent in startup packets
 *   1       4     length of what follows, itself included
 *   5       n     body
 *
 * CopyData is treated as the stream it is, because its message boundaries mean nothing: bytes are
 * passed on as they arrive, even of an unfinished message, so that a message of 1 GiB needs no
 * memory; small neighbours are moved together inside the chunk, so that a COPY with a message per
 * row does not cost an object per row.
 *
 * Ownership: push() takes the chunk; the caller neither writes to it nor uses it afterwards.
 * Everything handed out are views that stay valid as long as somebody holds them.
 */
export class FrontendDecoder {
  #phase: 'startup' | 'authentication' | 'session' = 'startup'
  /** The beginning of a message whose end has not arrived yet. */
  #partial: Buffer = emptyBuffer
  #partialLength = 0
  /** Bytes of the current CopyData message still to come. */
  #copyBytesLeft = 0
  readonly #reader = new PayloadReader()

  /** Authentication is over: from now on long messages are accepted. */
  beginSession(): void {
    this.#phase = 'session'
  }

  /** Bytes held of a message that is not complete yet. */
  get heldBytes(): number {
    return this.#partialLength
  }

  /**
   * Appends to `messages` what is complete.
   * @throws DatabaseError 08P01 (FATAL) on bytes that are no message; the messages before them have
   * been appended. The decoder cannot be used any more.
   */
  push(chunk: Buffer, messages: FrontendMessage[]): void {
    let offset = 0
    while (offset < chunk.length) {
      if (this.#copyBytesLeft > 0) offset = this.#passCopyData(chunk, offset, messages)
      else if (this.#partialLength > 0) offset = this.#completePartial(chunk, offset, messages)
      else {
        const next = this.#readMessage(chunk, offset, messages)
        if (next === incomplete) {
          this.#keep(chunk, offset, chunk.length)
          return
        }
        offset = next
      }
    }
  }

  /** @returns the offset behind the message, or incomplete. */
  #readMessage(bytes: Buffer, offset: number, messages: FrontendMessage[]): number {
    if (this.#phase === 'startup') return this.#readStartupPacket(bytes, offset, messages)
    const type = bytes[offset] ?? 0
    const limit = lengthLimit(type, this.#phase)
    if (bytes.length - offset < 5) return incomplete
    const length = bytes.readInt32BE(offset + 1)
    if (length < 4 || length > limit) throw protocolViolation('invalid message length')
    if (type === FrontendType.copyData) {
      this.#copyBytesLeft = length - 4
      return this.#passCopyData(bytes, offset + 5, messages)
    }
    const end = offset + 1 + length
    if (end > bytes.length) return incomplete
    this.#reader.reset(bytes, offset + 5, end)
    messages.push(parseMessage(type, this.#reader))
    return end
  }

  #readStartupPacket(bytes: Buffer, offset: number, messages: FrontendMessage[]): number {
    if (bytes.length - offset < 4) return incomplete
    const length = bytes.readInt32BE(offset)
    if (length < 8 || length > smallMessageBytesMax) {
      throw protocolViolation('invalid length of startup packet')
    }
    const end = offset + length
    if (end > bytes.length) return incomplete
    this.#reader.reset(bytes, offset + 4, end)
    const message = parseStartupPacket(this.#reader)
    if (message.kind === 'startup') this.#phase = 'authentication'
    messages.push(message)
    return end
  }

  /**
   * Hands on CopyData from `offset`, where #copyBytesLeft bytes of body begin, together with the
   * CopyData messages that follow it in this chunk, as far as joining them pays.
   * @returns the offset behind what was handed on, or where a body starts that wants a view of its own
   */
  #passCopyData(chunk: Buffer, offset: number, messages: FrontendMessage[]): number {
    const start = offset
    let runEnd = offset // chunk[start, runEnd) is joined data
    let at = offset
    for (;;) {
      const available = Math.min(this.#copyBytesLeft, chunk.length - at)
      if (at !== runEnd) {
        if (available >= joinBytesMax) break // long enough to be handed on alone, unmoved: the caller comes again
        moveLeft(chunk, runEnd, at, available)
      }
      at += available
      runEnd += available
      this.#copyBytesLeft -= available
      if (this.#copyBytesLeft > 0 || chunk.length - at < 5) break
      if (chunk[at] !== FrontendType.copyData) break
      const length = chunk.readInt32BE(at + 1)
      if (length < 4 || length > largeMessageBytesMax) break // #readMessage says what is wrong
      this.#copyBytesLeft = length - 4
      at += 5
    }
    if (runEnd > start) messages.push({ kind: 'copyData', data: chunk.subarray(start, runEnd) })
    return at
  }

  /** Moves bytes of the chunk to the unfinished message until that is complete or the chunk is used up. */
  #completePartial(chunk: Buffer, offset: number, messages: FrontendMessage[]): number {
    const headerBytes = this.#phase === 'startup' ? 4 : 5
    if (this.#partialLength < headerBytes) {
      const next = Math.min(chunk.length, offset + headerBytes - this.#partialLength)
      this.#keep(chunk, offset, next)
      if (this.#partialLength === headerBytes) this.#tryPartial(messages)
      return next
    }
    const total = this.#partial.readInt32BE(headerBytes - 4) + headerBytes - 4
    const next = Math.min(chunk.length, offset + total - this.#partialLength)
    this.#keep(chunk, offset, next)
    if (this.#partialLength === total) this.#tryPartial(messages)
    return next
  }

  /** Reads the message that #partial holds, if it is one already; checks its header in any case. */
  #tryPartial(messages: FrontendMessage[]): void {
    const bytes = this.#partial.subarray(0, this.#partialLength)
    if (this.#readMessage(bytes, 0, messages) === incomplete) return
    this.#partial = emptyBuffer // not reused: views into it have been handed out
    this.#partialLength = 0
  }

  /** Grows by doubling with what has really arrived: a length that was only announced costs nothing. */
  #keep(chunk: Buffer, start: number, end: number): void {
    const needed = this.#partialLength + end - start
    if (needed > this.#partial.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#partial.length * 2, 64))
      this.#partial.copy(grown, 0, 0, this.#partialLength)
      this.#partial = grown
    }
    chunk.copy(this.#partial, this.#partialLength, start, end)
    this.#partialLength = needed
  }
}

const emptyBuffer = Buffer.alloc(0)
const incomplete = -1

/** MAX_STARTUP_PACKET_LENGTH and PQ_SMALL_MESSAGE_LIMIT: pqcomm.h, libpq.h. */
const smallMessageBytesMax = 10_000
/** PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1, libpq.h. */
const largeMessageBytesMax = 0x3fff_fffe
/** From this size on moving a CopyData body costs more than an object of its own. */
const joinBytesMax = 4096

/** As SocketBackend() in postgres.c. @throws 08P01 for a type no client may send */
function lengthLimit(type: number, phase: 'authentication' | 'session'): number {
  switch (type) {
    case FrontendType.query:
    case FrontendType.parse:
    case FrontendType.bind:
    case FrontendType.functionCall:
    case FrontendType.copyData:
      return phase === 'session' ? largeMessageBytesMax : smallMessageBytesMax
    case FrontendType.describe:
    case FrontendType.execute:
    case FrontendType.close:
    case FrontendType.sync:
    case FrontendType.flush:
    case FrontendType.terminate:
    case FrontendType.copyDone:
    case FrontendType.copyFail:
    case FrontendType.password:
      return smallMessageBytesMax
    default:
      throw protocolViolation(`invalid frontend message type ${type}`)
  }
}

/** chunk[to…] = chunk[from, from + count), to < from. A loop beats copyWithin on rows of a few numbers. */
function moveLeft(chunk: Buffer, to: number, from: number, count: number): void {
  if (count > 48) {
    chunk.copyWithin(to, from, from + count)
    return
  }
  for (let index = 0; index < count; index += 1) chunk[to + index] = chunk[from + index] ?? 0
}

import { DatabaseError, SqlState } from '#base/errors.js'
import * as backend from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { type Notice, writeErrorResponse, writeNoticeResponse } from '#net/pgwire/error-response.js'

/** Collected answers go to the socket at this size at the latest. */
const flushBytes = 64 * 1024
/** With more than this waiting in the socket the session is asked to wait: what a slow client may make us hold. */
const waitingBytesMax = 1024 * 1024
/** From here on raw bytes are handed to the socket as they are instead of being copied. */
const copyBytesMax = 16 * 1024

/** What the outbox needs of a net.Socket. */
export interface Sink {
  write(bytes: Uint8Array): boolean
  /** Bytes the kernel has not taken yet. 0 right after write(): taken, the memory is free again. */
  readonly writableLength: number
  readonly writable: boolean
}

/**
 * The server's messages between session and socket. Small ones are collected and written together.
 * After gone() everything is swallowed.
 */
export class Outbox {
  readonly #sink: Sink
  readonly #writer = new ByteWriter()
  #gone = false
  #waiter: { resolve(): void; reject(reason: unknown): void } | undefined

  constructor(sink: Sink) {
    this.#sink = sink
  }

  /** For messages that have no method here; call written() afterwards. */
  get writer(): ByteWriter {
    return this.#writer
  }

  /** Looks whether enough has been collected. */
  written(): void {
    if (this.#writer.length >= flushBytes) this.flush()
  }

  dataRow(values: readonly backend.WireValue[]): void {
    backend.writeDataRow(this.#writer, values)
    if (this.#writer.length >= flushBytes) this.flush()
  }

  error(error: DatabaseError): void {
    this.#writer.abandon() // an error may have come up in the middle of a message
    writeErrorResponse(this.#writer, error)
  }

  /** Notices are sent at once: a client waits for them while a long statement runs. */
  notice(notice: Notice): void {
    writeNoticeResponse(this.#writer, notice)
    this.flush()
  }

  /** Takes ownership of `messages`. */
  raw(messages: Uint8Array): void {
    if (messages.length < copyBytesMax) {
      this.#writer.bytes(messages)
      this.written()
      return
    }
    this.flush()
    this.#write(messages)
  }

  get full(): boolean {
    return this.#sink.writableLength > waitingBytesMax && !this.#gone
  }

  flush(): void {
    const { length } = this.#writer
    if (length === 0) return
    if (this.#gone) {
      this.#writer.clear()
      return
    }
    this.#write(this.#writer.view())
    // The kernel mostly takes everything within write(): then the memory can be used again.
    if (this.#sink.writableLength === 0 && length <= 2 * flushBytes) this.#writer.clear()
    else this.#writer.take()
  }

  /** @throws what interrupt() says; 08006 after gone() */
  async drain(): Promise<void> {
    this.flush()
    if (this.#gone) throw connectionLost()
    if (!this.full) return
    await new Promise<void>((resolve, reject) => {
      this.#waiter = { resolve, reject }
    })
  }

  /** The socket has taken everything. */
  drained(): void {
    this.#waiter?.resolve()
    this.#waiter = undefined
  }

  /** Makes a waiting drain() throw. */
  interrupt(reason: unknown): void {
    this.#waiter?.reject(reason)
    this.#waiter = undefined
  }

  /** Nobody reads any more. */
  gone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#writer.clear()
    this.interrupt(connectionLost())
  }

  #write(bytes: Uint8Array): void {
    if (!this.#gone && this.#sink.writable) this.#sink.write(bytes)
  }
}

/** As ProcessInterrupts() in postgres.c. */
export function connectionLost(): DatabaseError {
  return new DatabaseError(SqlState.connectionFailure, 'connection to client lost', {
    severity: 'FATAL',
  })
}

/** Messages of any size as frames of one stream. Large messages take turns, and frames wait where the other side does not read. */
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Frame, frameBytesMax, messageBytesMax } from '#net/rpc/node-service.js'

export interface FrameStream {
  /** False: full until 'drain'. */
  write(frame: Frame): boolean
  on(event: 'drain', listener: () => void): unknown
}

interface Waiting {
  /** Of its next frame; what only the first one has goes with it. */
  head: Frame & { readonly call: number; readonly kind: number }
  readonly bytes: Uint8Array
  at: number
  readonly onSent: (() => void) | undefined
}

export class FrameSender {
  readonly #stream: FrameStream
  #waiting: Waiting[] = []
  #hasRoom = true

  constructor(stream: FrameStream) {
    this.#stream = stream
    stream.on('drain', () => {
      this.#hasRoom = true
      this.#send()
    })
  }

  /**
   * @param bytes not to be changed until they are sent
   * @param onSent the last frame has been handed to the stream: earlier the other side cannot know all of the message
   * @throws 54000 when it is larger than a message may be
   */
  send(head: Waiting['head'], bytes: Uint8Array, onSent?: () => void): void {
    if (bytes.byteLength > messageBytesMax) {
      const words = `a message between nodes of ${bytes.byteLength} bytes is larger than ${messageBytesMax}`
      throw new DatabaseError(SqlState.programLimitExceeded, words)
    }
    this.#waiting.push({ head, bytes, at: 0, onSent })
    this.#send()
  }

  /** What has not been sent of the call's messages is not sent. */
  drop(call: number): void {
    this.#waiting = this.#waiting.filter(({ head }) => head.call !== call)
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#waiting = []
    this.#hasRoom = false
  }

  #send(): void {
    while (this.#hasRoom) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      const { head, bytes, at } = next
      const end = Math.min(at + frameBytesMax, bytes.byteLength)
      const continues = end < bytes.byteLength
      this.#hasRoom = this.#stream.write({ ...head, bytes: bytes.subarray(at, end), continues })
      if (continues) {
        const { call, kind } = head
        this.#waiting.push({ ...next, head: { call, kind }, at: end })
      } else next.onSent?.()
    }
  }
}

/** Puts the frames of one message together again. */
export class FrameReader {
  #pieces: Uint8Array[] = []
  #bytes = 0

  /** @returns the message when this was its last frame. @throws 54000 when it is larger than a message may be */
  read({ bytes = new Uint8Array(), continues }: Frame): Uint8Array | undefined {
    this.#bytes += bytes.byteLength
    if (this.#bytes > messageBytesMax) {
      const words = `a message between nodes is larger than ${messageBytesMax} bytes`
      throw new DatabaseError(SqlState.programLimitExceeded, words)
    }
    if (continues !== true && this.#pieces.length === 0) {
      this.#bytes = 0
      return bytes
    }
    this.#pieces.push(bytes)
    if (continues === true) return undefined
    const message = Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#bytes = 0
    return message
  }
}

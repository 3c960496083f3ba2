import type { FrontendMessage } from '#net/pgwire/message.js'

/** Above this many bytes of waiting messages the socket is not read: what a pipelining client may make us hold. */
const heldBytesMax = 4 * 1024 * 1024
const heldBytesResume = heldBytesMax / 2

/**
 * The client's messages between socket and session, in order. One reader: take() or next(), never
 * two next() at once.
 *
 * Bytes are counted per chunk, not per message: a chunk counts until its last message is taken.
 */
export class Inbox {
  readonly #batches: { readonly messages: readonly FrontendMessage[]; readonly bytes: number }[] =
    []
  /** Position in the first batch. */
  #index = 0
  #heldBytes = 0
  #ended = false
  #failure: { readonly reason: unknown } | undefined
  #paused = false
  #reader:
    | { resolve(message: FrontendMessage | undefined): void; reject(reason: unknown): void }
    | undefined
  readonly #pause: () => void
  readonly #resume: () => void

  constructor(socket: { pause(): unknown; resume(): unknown }) {
    this.#pause = () => socket.pause()
    this.#resume = () => socket.resume()
  }

  /** Adds the messages that became complete with a chunk. `bytes` is what they hold in memory. */
  add(messages: readonly FrontendMessage[], bytes: number): void {
    if (messages.length === 0 || this.#ended) return
    this.#batches.push({ messages, bytes })
    this.#heldBytes += bytes
    if (this.#heldBytes > heldBytesMax && !this.#paused) {
      this.#paused = true
      this.#pause()
    }
    if (this.#reader === undefined) return
    const { resolve } = this.#reader
    this.#reader = undefined
    resolve(this.take())
  }

  /** No more will come: what is there can still be taken, then next() gives undefined. */
  end(): void {
    this.#ended = true
    this.#reader?.resolve(undefined)
    this.#reader = undefined
  }

  /** Forgets what waits and ends. */
  discard(): void {
    this.#batches.length = 0
    this.#index = 0
    this.end()
  }

  /** True when the client's last word was Terminate: it left on purpose, what it asked for before stands. */
  get endsWithTerminate(): boolean {
    return this.#batches.at(-1)?.messages.at(-1)?.kind === 'terminate'
  }

  /** The next message if there is one already. */
  take(): FrontendMessage | undefined {
    const batch = this.#batches[0]
    const message = batch?.messages[this.#index]
    if (batch === undefined || message === undefined) return undefined
    this.#index += 1
    if (this.#index === batch.messages.length) {
      this.#batches.shift()
      this.#index = 0
      this.#heldBytes -= batch.bytes
      if (this.#paused && this.#heldBytes < heldBytesResume) {
        this.#paused = false
        this.#resume()
      }
    }
    return message
  }

  /** The next message, or undefined when the client has gone. @throws the reason of interrupt() */
  next(): Promise<FrontendMessage | undefined> {
    const message = this.take()
    if (this.#failure !== undefined) return Promise.reject(this.#failure.reason)
    if (message !== undefined || this.#ended) return Promise.resolve(message)
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }

  /** Makes next() throw from now on, also one that is waiting. */
  fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.interrupt(reason)
  }

  /** Makes a waiting next() throw; without one it does nothing. */
  interrupt(reason: unknown): void {
    this.#reader?.reject(reason)
    this.#reader = undefined
  }
}

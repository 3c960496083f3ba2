import { connect, type Socket } from 'node:net'
import { BackendMessages } from '#net/pgwire/backend-parse.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { writeStartup } from '#net/pgwire/frontend-encode.js'

/** A message of the server: its type as a letter, and its body. */
export interface Received {
  readonly type: string
  readonly body: Buffer
}

/** A client that sends exactly the bytes it is told to and takes what comes. */
export class RawClient {
  readonly socket: Socket
  #received: Buffer = Buffer.alloc(0)
  /** Number of data events: how many pieces the answers came in. */
  pieces = 0
  ended = false
  #wake: () => void = () => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.pieces += 1
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.ended = true
      this.#wake()
    })
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    const client = new RawClient(socket)
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return client
  }

  /** Connects and starts up with trust. */
  static async started(port: number, user = 'toy', minor = 0): Promise<RawClient> {
    const client = await RawClient.connect(port)
    client.send((writer) => writeStartup(writer, { user }, minor))
    await client.until('Z')
    return client
  }

  send(write: (writer: ByteWriter) => void): void {
    const writer = new ByteWriter()
    write(writer)
    this.socket.write(writer.view())
  }

  /** Everything up to and with the first message of this type. @throws when the connection ends before */
  async until(type: string): Promise<Received[]> {
    for (;;) {
      const messages = this.#complete()
      const last = messages.findIndex((message) => message.type === type)
      if (last >= 0) {
        const taken = messages.slice(0, last + 1)
        this.#drop(taken)
        return taken
      }
      if (this.ended) throw new Error(`connection ended before ${type}: ${kinds(messages)}`)
      await this.#more()
    }
  }

  /** Everything until the server closes. */
  async untilEnd(): Promise<Received[]> {
    while (!this.ended) await this.#more()
    return this.#complete()
  }

  /** What has arrived and was not taken. @throws when it is no sequence of messages */
  received(): Received[] {
    if (this.#received.subarray(0, 1).toString() === 'N' && this.#received[1] !== 0) {
      this.#received = this.#received.subarray(1) // the answer to an SSLRequest
    }
    return this.#complete()
  }

  /** Raw bytes that are no message ('N' to an SSLRequest). */
  async bytes(count: number): Promise<Buffer> {
    while (this.#received.length < count && !this.ended) await this.#more()
    const bytes = this.#received.subarray(0, count)
    this.#received = this.#received.subarray(count)
    return bytes
  }

  destroy(): void {
    this.socket.destroy()
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #complete(): Received[] {
    const bytes = this.#received
    let end = 0
    while (bytes.length - end >= 5 && end + 1 + bytes.readInt32BE(end + 1) <= bytes.length) {
      end += 1 + bytes.readInt32BE(end + 1)
    }
    const messages = new BackendMessages(bytes.subarray(0, end))
    const found: Received[] = []
    while (messages.next()) {
      found.push({
        type: String.fromCharCode(messages.type),
        body: Buffer.from(messages.payload()),
      })
    }
    return found
  }

  #drop(messages: readonly Received[]): void {
    const bytes = messages.reduce((sum, { body }) => sum + 5 + body.length, 0)
    this.#received = this.#received.subarray(bytes)
  }
}

/** The types in a row, as in '1 2 T D C Z'. */
export function kinds(messages: readonly Received[]): string {
  return messages.map(({ type }) => type).join(' ')
}

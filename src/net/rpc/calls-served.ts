/** The answering side of one exchange: the calls that one caller has begun, by number. */
import type { ServerDuplexStream } from '@grpc/grpc-js'
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { encodeError } from '#net/rpc/error-codec.js'
import { FrameReader, FrameSender } from '#net/rpc/frame-sender.js'
import { type Frame, kind } from '#net/rpc/node-service.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

/** The methods that travel, each with its arguments; the context comes apart. */
export type ServedContract = Readonly<Record<string, ServedMethod>>

export type ServedMethod = (args: readonly unknown[], context: Context) => unknown

/** What a call names. */
export interface Called {
  readonly contract: string
  readonly object: string
  readonly method: string
  /** '': nobody's. */
  readonly queryId: string
}

/** Runs a call's work, with the method that it means. @throws what the work does; DatabaseError when there is no such method */
export type Serve = (called: Called, work: (method: ServedMethod) => Promise<void>) => Promise<void>

interface RunningCall {
  readonly called: Called
  readonly reader: FrameReader
  readonly controller: AbortController
  /** The request is whole: whatever else comes of it is not asked for. */
  hasBegun: boolean
  /** Parts of an iterator that may be sent; undefined: it is none. */
  parts: number | undefined
  wake(): void
}

export class CallsServed {
  readonly #stream: ServerDuplexStream<Frame, Frame>
  readonly #serve: Serve
  readonly #sender: FrameSender
  readonly #calls = new Map<number, RunningCall>()
  #isStopping = false
  #isOver = false

  constructor(stream: ServerDuplexStream<Frame, Frame>, serve: Serve) {
    this.#stream = stream
    this.#serve = serve
    this.#sender = new FrameSender(stream)
    stream.on('data', (frame: Frame) => this.#read(frame))
    stream.on('end', () => this.stop())
    stream.on('error', () => this.#abandon())
    stream.on('cancelled', () => this.#abandon())
  }

  /** Begins nothing any more; ends when what has begun has ended. */
  stop(): void {
    this.#isStopping = true
    this.#endWhenIdle()
  }

  #endWhenIdle(): void {
    if (!this.#isStopping || this.#isOver || this.#calls.size > 0) return
    this.#isOver = true
    this.#stream.end()
  }

  /** The caller has gone without a word: its calls end. */
  #abandon(): void {
    this.#isOver = true
    this.#sender.close()
    for (const call of [...this.#calls.keys()]) this.#cancel(call)
  }

  #cancel(call: number): void {
    const running = this.#calls.get(call)
    if (running === undefined) return
    this.#calls.delete(call)
    this.#sender.drop(call)
    const words = 'canceling statement due to user request'
    running.controller.abort(new DatabaseError(SqlState.queryCanceled, words))
    running.wake()
    this.#endWhenIdle()
  }

  #read(frame: Frame): void {
    const { call = 0, parts = 0 } = frame
    if (frame.kind === kind.request) this.#readRequest(call, frame)
    else if (frame.kind === kind.cancel) this.#cancel(call)
    else if (frame.kind === kind.more) {
      const running = this.#calls.get(call)
      if (running?.parts === undefined) return
      running.parts += parts
      running.wake()
    }
  }

  #readRequest(call: number, frame: Frame): void {
    let running = this.#calls.get(call)
    if (running === undefined) {
      // The rest of a request that was cancelled, or refused, names nothing.
      if (this.#isOver || frame.contract === undefined) return
      if (this.#isStopping) {
        this.#sender.send({ call, kind: kind.refused }, new Uint8Array())
        return
      }
      const { contract, object = '', method = '', queryId = '', parts } = frame
      running = {
        called: { contract, object, method, queryId },
        ...{ reader: new FrameReader(), controller: new AbortController() },
        ...{ hasBegun: false, parts, wake() {} },
      }
      this.#calls.set(call, running)
    }
    if (running.hasBegun) return
    this.#run(call, running, frame).catch((error: unknown) => {
      this.#answer(call, { call, kind: kind.error }, encodeError(error))
    })
  }

  /** @param frame of the request; with its last one the call begins */
  async #run(call: number, running: RunningCall, frame: Frame): Promise<void> {
    const { called, controller, reader } = running
    const args = reader.read(frame)
    if (args === undefined) return
    running.hasBegun = true
    const { queryId } = called
    const context = { signal: controller.signal, queryId: queryId === '' ? undefined : queryId }
    let result: unknown
    await this.#serve(called, async (method) => {
      const returned = invoke(method, args, context)
      result =
        running.parts === undefined
          ? await returned
          : await this.#pour(call, running, returned as AsyncGenerator<unknown, unknown>)
    })
    this.#answer(call, { call, kind: kind.result }, encodeValue(result))
  }

  /** The next part is asked for when the last one is on its way and another is wanted. */
  async #pour(
    call: number,
    running: RunningCall,
    parts: AsyncGenerator<unknown, unknown>,
  ): Promise<unknown> {
    const { signal } = running.controller
    try {
      for (;;) {
        while (running.parts === 0 && !signal.aborted) await woken(running)
        if (signal.aborted) return undefined
        const { value, done } = await parts.next()
        if (done === true) return value
        running.parts = (running.parts ?? 0) - 1
        let isSent = false
        if (signal.aborted) return undefined
        this.#sender.send({ call, kind: kind.part }, encodeValue(value), () => {
          isSent = true
          running.wake()
        })
        while (!isSent && !signal.aborted) await woken(running)
      }
    } finally {
      await parts.return(undefined)
    }
  }

  /** Of a call that has not been cancelled meanwhile. */
  #answer(call: number, head: Frame & { call: number; kind: number }, bytes: Uint8Array): void {
    if (!this.#calls.has(call)) return
    this.#sender.send(head, bytes, () => {
      this.#calls.delete(call)
      this.#endWhenIdle()
    })
  }
}

function woken(running: RunningCall): Promise<void> {
  return new Promise((resolve) => {
    running.wake = resolve
  })
}

function invoke(method: ServedMethod, bytes: Uint8Array, context: Context): unknown {
  const args = decodeValue(bytes)
  if (!Array.isArray(args)) {
    throw new DatabaseError(SqlState.protocolViolation, 'arguments are no array')
  }
  return method(args, context)
}

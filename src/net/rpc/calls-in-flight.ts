/** The caller's side of one exchange: calls that are under way, by number. */
import { type ClientDuplexStream, type ServiceError, status } from '@grpc/grpc-js'
import { type Context, checkCancelled } from '#base/context.js'
import { UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { decodeError } from '#net/rpc/error-codec.js'
import { FrameReader, FrameSender } from '#net/rpc/frame-sender.js'
import { type Frame, kind } from '#net/rpc/node-service.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

export interface Request {
  readonly contract: string
  readonly object: string
  readonly method: string
  readonly args: readonly unknown[]
}

/** Parts of an iterator that are asked for before the first has been read: one is read while the next is on its way. */
const partsAhead = 2

interface OpenCall {
  readonly reader: FrameReader
  /** All of the request has been handed to the connection: from then on it may have been done. */
  isSent: boolean
  take(answer: Answer): void
  fail(error: unknown): void
}

interface Answer {
  readonly kind: number
  readonly bytes: Uint8Array
}

export class CallsInFlight {
  readonly #stream: ClientDuplexStream<Frame, Frame>
  readonly #address: string
  readonly #runtime: Runtime
  readonly #sender: FrameSender
  readonly #calls = new Map<number, OpenCall>()
  /** All calls have the same time: the first is the next to be late. */
  readonly #deadlines = new Map<number, number>()
  readonly #over = new AbortController()
  #isWatching = false
  #isClosing = false
  #last = 0

  constructor(stream: ClientDuplexStream<Frame, Frame>, address: string, runtime: Runtime) {
    this.#stream = stream
    this.#address = address
    this.#runtime = runtime
    this.#sender = new FrameSender(stream)
    stream.on('data', (frame: Frame) => this.#read(frame))
    // An error comes before an end; an end alone is a node that has answered everything that it had begun.
    stream.on('error', (error: ServiceError) => this.#end(error))
    stream.on('end', () => this.#end(undefined))
  }

  get isOver(): boolean {
    return this.#over.signal.aborted
  }

  /** No call is to begin any more; the exchange ends when those under way have. */
  close(): void {
    this.#isClosing = true
    this.#endWhenIdle()
  }

  #endWhenIdle(): void {
    if (this.#isClosing && !this.isOver && this.#calls.size === 0) this.#stream.end()
  }

  /** @throws what the method threw; UnreachableError; the signal's reason */
  call(request: Request, deadlineMs: number, context: Context): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let end = () => {}
      const call = this.#begin(request, 0, context, {
        take: (answer) => {
          end()
          try {
            resolve(readAnswer(answer, this.#address))
          } catch (error) {
            reject(error)
          }
        },
        fail: (error) => {
          end()
          reject(error)
        },
      })
      end = this.#untilCancelled(call, context)
      this.#deadlines.set(call, this.#runtime.monotonicMs() + deadlineMs)
      this.#watchDeadlines()
    })
  }

  /** An async iterator's parts, and what it returns. No more than two parts are ahead of the reader. */
  async *stream(request: Request, context: Context): AsyncGenerator<unknown, unknown, undefined> {
    const answers: Answer[] = []
    let failure: { readonly error: unknown } | undefined
    let wake = () => {}
    const call = this.#begin(request, partsAhead, context, {
      take(answer) {
        answers.push(answer)
        wake()
      },
      fail(error) {
        failure = { error }
        wake()
      },
    })
    const end = this.#untilCancelled(call, context)
    try {
      for (;;) {
        if (context.signal.aborted) throw context.signal.reason
        const answer = answers.shift()
        if (answer !== undefined) {
          const value = readAnswer(answer, this.#address)
          if (answer.kind !== kind.part) return value
          if (this.#calls.has(call)) this.#sender.send({ call, kind: kind.more, parts: 1 }, none)
          yield value
        } else if (failure !== undefined) throw failure.error
        else {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      }
    } finally {
      end()
      this.#cancel(call)
    }
  }

  #begin(
    { args, ...names }: Request,
    parts: number,
    context: Context,
    listener: Pick<OpenCall, 'take' | 'fail'>,
  ): number {
    checkCancelled(context)
    const bytes = encodeValue(args)
    const call = this.#last + 1
    this.#last = call
    const open: OpenCall = { ...listener, reader: new FrameReader(), isSent: false }
    const { queryId } = context
    const head = {
      ...{ call, kind: kind.request, ...names },
      ...(queryId === undefined ? {} : { queryId }),
      ...(parts === 0 ? {} : { parts }),
    }
    this.#calls.set(call, open)
    try {
      this.#sender.send(head, bytes, () => {
        open.isSent = true
      })
    } catch (error) {
      this.#calls.delete(call)
      throw error
    }
    return call
  }

  /** @returns to be called when the call has ended */
  #untilCancelled(call: number, { signal }: Context): () => void {
    const cancel = () => {
      const open = this.#calls.get(call)
      this.#cancel(call)
      open?.fail(signal.reason)
    }
    signal.addEventListener('abort', cancel, { once: true })
    return () => {
      signal.removeEventListener('abort', cancel)
      this.#deadlines.delete(call)
    }
  }

  #cancel(call: number): void {
    if (!this.#calls.delete(call)) return
    this.#sender.drop(call)
    if (this.isOver) return
    this.#sender.send({ call, kind: kind.cancel }, none, () => this.#endWhenIdle())
  }

  #read(frame: Frame): void {
    const call = frame.call ?? 0
    const open = this.#calls.get(call)
    // Cancelled: what was on its way then is nobody's.
    if (open === undefined) return
    try {
      const bytes = open.reader.read(frame)
      if (bytes === undefined) return
      const answer = { kind: frame.kind ?? 0, bytes }
      if (answer.kind !== kind.part) {
        this.#calls.delete(call)
        this.#endWhenIdle()
      }
      open.take(answer)
    } catch (error) {
      this.#cancel(call)
      open.fail(error)
    }
  }

  #watchDeadlines(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    this.#untilAllAnswered().then(
      () => {
        this.#isWatching = false
      },
      // Over: nobody is left to be told.
      () => {},
    )
  }

  async #untilAllAnswered(): Promise<void> {
    for (;;) {
      const [first] = this.#deadlines
      if (first === undefined) return
      const [call, deadlineMs] = first
      const leftMs = deadlineMs - this.#runtime.monotonicMs()
      if (leftMs > 0) await this.#runtime.sleep(leftMs, this.#over.signal)
      else {
        const open = this.#calls.get(call)
        this.#deadlines.delete(call)
        this.#cancel(call)
        open?.fail(lost(this.#address, open.isSent, 'no answer within the deadline'))
      }
    }
  }

  #end(error: ServiceError | undefined): void {
    if (this.isOver) return
    this.#over.abort(new UnreachableError('determinate', `node ${this.#address} is gone`))
    this.#sender.close()
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    const words = error?.details ?? 'it has stopped'
    const wasReached = error !== undefined && !isNotConnected(error)
    for (const open of calls) {
      open.fail(lost(this.#address, wasReached && open.isSent, words, error))
    }
  }
}

const none = new Uint8Array()

/** @throws what the method threw */
function readAnswer({ kind: found, bytes }: Answer, address: string): unknown {
  if (found === kind.part || found === kind.result) return decodeValue(bytes)
  if (found === kind.error) throw decodeError(bytes)
  if (found === kind.refused) throw lost(address, false, 'it stops')
  throw lost(address, true, `unknown frame ${found}`)
}

function isNotConnected({ code, details }: ServiceError): boolean {
  return code === status.UNAVAILABLE && /No connection established/.test(details)
}

function lost(
  address: string,
  mayBeDone: boolean,
  words: string,
  cause?: ServiceError,
): UnreachableError {
  const outcome = mayBeDone ? 'indeterminate' : 'determinate'
  return new UnreachableError(outcome, `node ${address} does not answer: ${words}`, cause)
}

import { setMaxListeners } from 'node:events'
import { DatabaseError, InvariantError } from '#base/errors.js'
import * as backend from '#net/pgwire/backend.js'
import type { ByteWriter } from '#net/pgwire/byte-writer.js'
import type { Inbox } from '#net/pgwire/inbox.js'
import type { FrontendMessage } from '#net/pgwire/message.js'
import type { Outbox } from '#net/pgwire/outbox.js'
import { protocolViolation } from '#net/pgwire/payload-reader.js'
import type { Awaitable, ResponseWriter, Session, StatementContext } from '#net/pgwire/session.js'

/**
 * The state machine of a session's protocol (protocol-flow): which method a message calls, what is
 * answered afterwards, and what happens to errors.
 *
 *   simple query   error → ErrorResponse, fail, ReadyForQuery
 *   extended       error → ErrorResponse, fail, skip everything until Sync
 *   sync           error → ErrorResponse, fail, ReadyForQuery
 *   FATAL          ErrorResponse, ended
 *
 * Concurrency: dispatch() is called again only after its promise has resolved.
 */
export class Dispatcher {
  readonly #session: Session
  readonly #out: ResponseWriter
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #writer: ByteWriter
  readonly #presentable: (error: unknown) => DatabaseError
  #statement: Statement | undefined
  /** After an error in an extended batch: until Sync. */
  #skipping = false
  /** Between the first message of an extended batch and its Sync. */
  #inBatch = false
  /** A ReadyForQuery waits in the outbox: the client may act on it, so it must not wait for a slow successor. */
  #answered = false
  #notifications: { processId: number; channel: string; payload: string }[] = []
  /** A FATAL error has been sent. */
  ended = false
  /** While a statement runs, whoever waits for the inbox or the outbox is that statement. */
  readonly #interrupt = (reason: DatabaseError): void => {
    this.#inbox.interrupt(reason)
    this.#outbox.interrupt(reason)
  }

  constructor(
    session: Session,
    out: ResponseWriter,
    inbox: Inbox,
    outbox: Outbox,
    presentable: (error: unknown) => DatabaseError,
  ) {
    this.#session = session
    this.#out = out
    this.#inbox = inbox
    this.#outbox = outbox
    this.#writer = outbox.writer
    this.#presentable = presentable
  }

  /** Nothing runs, no batch is open, no transaction is open. */
  get isIdle(): boolean {
    return (
      this.#statement === undefined && !this.#inBatch && this.#session.transactionStatus === 'I'
    )
  }

  /** The context of the running message. */
  statement(): StatementContext {
    if (this.#statement === undefined) {
      throw new InvariantError('session-protocol', 'COPY outside of a statement')
    }
    return this.#statement
  }

  /** Aborts the running message, if there is one. */
  abort(reason: DatabaseError): void {
    this.#statement?.abort(reason)
  }

  /** Sends a notification now if the client is idle, else before the next ReadyForQuery outside of a transaction. */
  notify(processId: number, channel: string, payload: string): void {
    this.#notifications.push({ processId, channel, payload })
    if (!this.isIdle) return
    this.#sendNotifications()
    this.#outbox.flush()
  }

  /** @returns undefined when everything is done already */
  dispatch(message: FrontendMessage): Promise<void> | undefined {
    const pending = this.#handle(message)
    if (pending !== undefined && this.#answered) this.flush()
    return pending
  }

  /** Sends what is collected. */
  flush(): void {
    this.#answered = false
    this.#outbox.flush()
  }

  #handle(message: FrontendMessage): Promise<void> | undefined {
    if (message.kind === 'violation') throw message.error
    if (this.#skipping && message.kind !== 'sync') return undefined
    const session = this.#session
    const out = this.#out
    switch (message.kind) {
      case 'query':
        return this.#simple((statement) => session.query(message, out, statement))
      case 'functionCall':
        return this.#simple((statement) => session.functionCall(message, out, statement))
      case 'parse':
        return this.#extended((statement) => session.parse(message, out, statement), writeParsed)
      case 'bind':
        return this.#extended((statement) => session.bind(message, out, statement), writeBound)
      case 'describe':
        return this.#extended((statement) => session.describe(message, out, statement))
      case 'execute':
        return this.#extended((statement) => session.execute(message, out, statement))
      case 'close':
        return this.#extended(
          (statement) => session.closeNamed(message, out, statement),
          writeClosed,
        )
      case 'sync':
        this.#skipping = false
        return this.#simple((statement) => session.sync(out, statement))
      case 'flush':
        this.flush()
        return undefined
      case 'invalid':
        return message.extended
          ? this.#extended(() => reject(message.error))
          : this.#simple(() => reject(message.error))
      case 'copyData':
      case 'copyDone':
      case 'copyFail':
        return undefined // left over from a COPY that has failed: protocol-flow, COPY operations
      case 'password':
        throw protocolViolation('invalid frontend message type 112')
      default:
        throw protocolViolation('invalid frontend message type 0')
    }
  }

  /** Query, FunctionCall, Sync: ReadyForQuery follows, whatever happens. */
  #simple(run: (statement: StatementContext) => Awaitable): Promise<void> | undefined {
    this.#inBatch = false
    return this.#attempt(
      run,
      () => this.#readyForQuery(),
      () => this.#readyForQuery(),
    )
  }

  #extended(
    run: (statement: StatementContext) => Awaitable,
    complete?: (writer: ByteWriter) => void,
  ): Promise<void> | undefined {
    this.#inBatch = true
    return this.#attempt(
      run,
      () => complete?.(this.#writer),
      () => {
        this.#skipping = true
      },
    )
  }

  #attempt(
    run: (statement: StatementContext) => Awaitable,
    succeed: () => void,
    recover: () => void,
  ): Promise<void> | undefined {
    const statement = new Statement(this.#interrupt)
    this.#statement = statement
    let pending: Awaitable
    try {
      pending = run(statement)
    } catch (error) {
      return this.#failed(error, statement, recover)
    }
    if (pending instanceof Promise) return this.#settle(pending, statement, succeed, recover)
    this.#statement = undefined
    succeed()
    return undefined
  }

  async #settle(
    pending: Promise<void>,
    statement: Statement,
    succeed: () => void,
    recover: () => void,
  ): Promise<void> {
    try {
      await pending
    } catch (error) {
      await this.#failed(error, statement, recover)
      return
    }
    this.#statement = undefined
    succeed()
  }

  #failed(error: unknown, statement: Statement, recover: () => void): Promise<void> | undefined {
    this.#statement = undefined
    const shown = this.#presentable(statement.explain(error))
    this.#outbox.error(shown)
    if (shown.fields.severity === 'FATAL' || shown.fields.severity === 'PANIC') {
      this.ended = true
      return undefined
    }
    const pending = this.#session.fail(shown)
    if (pending instanceof Promise) return pending.then(recover)
    recover()
    return undefined
  }

  #readyForQuery(): void {
    const status = this.#session.transactionStatus
    if (status === 'I' && this.#notifications.length > 0) this.#sendNotifications()
    backend.writeReadyForQuery(this.#writer, status)
    this.#outbox.written()
    this.#answered = true
  }

  #sendNotifications(): void {
    for (const { processId, channel, payload } of this.#notifications) {
      backend.writeNotification(this.#writer, processId, channel, payload)
    }
    this.#notifications = []
  }
}

const {
  writeParseComplete: writeParsed,
  writeBindComplete: writeBound,
  writeCloseComplete: writeClosed,
} = backend

function reject(error: DatabaseError): never {
  throw error
}

/** The context of one message; the signal is made when somebody asks for it, which few messages do. */
class Statement implements StatementContext {
  queryId: string | undefined
  #controller: AbortController | undefined
  #reason: DatabaseError | undefined
  readonly #interrupt: (reason: DatabaseError) => void

  constructor(interrupt: (reason: DatabaseError) => void) {
    this.#interrupt = interrupt
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      // One for each part of the statement that is under way elsewhere.
      setMaxListeners(0, this.#controller.signal)
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason: DatabaseError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#interrupt(reason)
  }

  /** An aborted statement may fail in many ways: the client is told why it was aborted. */
  explain(error: unknown): unknown {
    return this.#reason !== undefined && !(error instanceof DatabaseError) ? this.#reason : error
  }
}

import type { Socket } from 'node:net'
import { DatabaseError, SqlState } from '#base/errors.js'
import * as backend from '#net/pgwire/backend.js'
import { Dispatcher } from '#net/pgwire/dispatch.js'
import { errorForClient } from '#net/pgwire/error-response.js'
import { FrontendDecoder } from '#net/pgwire/frame.js'
import { Inbox } from '#net/pgwire/inbox.js'
import type { FrontendMessage } from '#net/pgwire/message.js'
import { connectionLost, Outbox } from '#net/pgwire/outbox.js'
import { createResponseWriter } from '#net/pgwire/response-writer.js'
import type { OpenSession, RemoteAddress, ResponseWriter, Session } from '#net/pgwire/session.js'
import { type StartedClient, type StartupHost, startUp } from '#net/pgwire/startup.js'

/** How long a client may take to read our last words after we have closed. */
const lingerMs = 2000
const keepAliveMs = 60_000

export interface ConnectionHost extends StartupHost {
  readonly openSession: OpenSession
  /** authentication_timeout: from accept to the opened session. */
  readonly startupTimeoutMs: number
  readonly processId: number
  /** Called when the client may be cancelled, with its key; and at the end of every connection. */
  started(connection: Connection, secretKey: Uint8Array): void
  ended(connection: Connection): void
  /** Errors that are ours: the client has seen only the id. */
  internalError(id: string, error: unknown): void
}

/**
 * One client: socket → decoder → inbox → session → outbox → socket.
 *
 * Concurrency: run() is the only one that calls the session, one message at a time. Whatever comes
 * from elsewhere (cancel, terminate, drain, the socket's end) only aborts the running statement or
 * interrupts the waiting, and leaves the doing to run().
 */
export class Connection {
  readonly #socket: Socket
  readonly #host: ConnectionHost
  readonly #decoder = new FrontendDecoder()
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #remote: RemoteAddress
  readonly #startup = new AbortController()
  #dispatcher: Dispatcher | undefined
  /** Why the connection must end, told from outside. */
  #termination: DatabaseError | undefined
  #draining = false
  #gone = false

  constructor(socket: Socket, host: ConnectionHost) {
    this.#socket = socket
    this.#host = host
    this.#inbox = new Inbox(socket)
    this.#outbox = new Outbox(socket)
    this.#remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, keepAliveMs)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('drain', () => this.#outbox.drained())
    socket.on('end', () => this.#clientGone())
    socket.on('error', () => this.#socketGone())
    socket.on('close', () => this.#socketGone())
  }

  get processId(): number {
    return this.#host.processId
  }

  /** Serves the client until one of the two has enough; never throws. */
  async run(): Promise<void> {
    try {
      const session = await this.#open()
      if (session !== undefined) await this.#serve(session)
    } catch (error) {
      this.#say(error)
    }
    this.#hangUp()
    this.#host.ended(this)
  }

  /** Cancel request: aborts what runs, if anything. */
  cancel(): void {
    this.#dispatcher?.abort(
      new DatabaseError(SqlState.queryCanceled, 'canceling statement due to user request'),
    )
  }

  /** Ends the connection with this error, which is made FATAL. */
  terminate(error: DatabaseError): void {
    if (this.#termination !== undefined) return
    const { severity: _, ...fields } = error.fields
    const fatal = new DatabaseError(error.sqlState, error.message, { ...fields, severity: 'FATAL' })
    this.#termination = fatal
    this.#startup.abort(fatal)
    this.#dispatcher?.abort(fatal)
    this.#inbox.fail(fatal)
  }

  /** Ends the connection as soon as it has nothing to do: at once, or after the running transaction. */
  drain(): void {
    this.#draining = true
    if (this.#dispatcher === undefined || this.#dispatcher.isIdle) this.terminate(adminShutdown())
  }

  /** Cuts the line: for a session that does not end when told to. */
  destroy(): void {
    this.#socket.destroy()
  }

  async #open(): Promise<Session | undefined> {
    const { signal } = this.#startup
    const timer = new AbortController()
    this.#host.runtime
      .sleep(this.#host.startupTimeoutMs, timer.signal)
      .then(() => this.terminate(authenticationTimeout()))
      .catch(() => {})
    try {
      const client = await startUp(this.#inbox, this.#outbox, this.#remote, this.#host)
      if (client === undefined) return undefined
      signal.throwIfAborted()
      return await this.#openSession(client, signal)
    } finally {
      timer.abort()
    }
  }

  async #openSession(client: StartedClient, signal: AbortSignal): Promise<Session> {
    const { processId } = this.#host
    const { user, database, parameters } = client
    const session = await this.#host.openSession(
      {
        user,
        database,
        parameters,
        processId,
        remote: this.#remote,
        client: {
          notify: (sender, channel, payload) => this.#dispatcher?.notify(sender, channel, payload),
          terminate: (error) => this.terminate(error),
          cancel: () => this.cancel(),
        },
      },
      signal,
    )
    if (signal.aborted) {
      await session.close()
      throw signal.reason
    }
    this.#decoder.beginSession()
    const { writer } = this.#outbox
    for (const [name, value] of session.parameterStatuses) {
      backend.writeParameterStatus(writer, name, value)
    }
    const secretKey = this.#host.runtime.randomBytes(client.minor >= 2 ? 32 : 4)
    backend.writeBackendKeyData(writer, processId, secretKey)
    this.#host.started(this, secretKey)
    backend.writeReadyForQuery(writer, session.transactionStatus)
    return session
  }

  async #serve(session: Session): Promise<void> {
    const out: ResponseWriter = createResponseWriter(this.#inbox, this.#outbox, () =>
      dispatcher.statement(),
    )
    const dispatcher = new Dispatcher(session, out, this.#inbox, this.#outbox, (error) =>
      this.#presentable(error),
    )
    this.#dispatcher = dispatcher
    try {
      await this.#handleAll(dispatcher)
    } catch (error) {
      this.#say(error)
    }
    this.#dispatcher = undefined
    this.#outbox.flush() // the client need not wait for what closing takes
    try {
      await session.close()
    } catch (error) {
      this.#presentable(error) // logs it; nobody is there to be told
    }
  }

  /** The loop: everything that is there, then flush and wait. Synchronous handlers cost no turn. */
  async #handleAll(dispatcher: Dispatcher): Promise<void> {
    for (;;) {
      if (this.#termination !== undefined) throw this.#termination
      let message = this.#inbox.take()
      if (message === undefined) {
        dispatcher.flush()
        if (this.#draining && dispatcher.isIdle) throw adminShutdown()
        message = await this.#inbox.next()
      }
      if (message === undefined || message.kind === 'terminate') return
      const pending = dispatcher.dispatch(message)
      if (pending !== undefined) await pending
      if (dispatcher.ended) return
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#gone) return
    const messages: FrontendMessage[] = []
    const heldBytes = chunk.length + this.#decoder.heldBytes
    try {
      this.#decoder.push(chunk, messages)
    } catch (error) {
      messages.push({ kind: 'violation', error })
      this.#gone = true // nothing after this can be understood
    }
    this.#inbox.add(messages, heldBytes)
  }

  /**
   * The client has closed its side. One that said Terminate before gets its last statements done,
   * as with PostgreSQL; for one that vanished nothing more is done.
   */
  #clientGone(): void {
    if (this.#inbox.endsWithTerminate) {
      this.#inbox.end()
      return
    }
    this.#inbox.discard()
    this.#dispatcher?.abort(connectionLost())
    this.#startup.abort(connectionLost())
  }

  #socketGone(): void {
    this.#gone = true
    this.#outbox.gone()
    this.#clientGone()
  }

  #presentable(error: unknown): DatabaseError {
    const makeId = (): string => Buffer.from(this.#host.runtime.randomBytes(6)).toString('hex')
    return errorForClient(error, makeId, (id, cause) => this.#host.internalError(id, cause))
  }

  /** The last words, always FATAL. */
  #say(error: unknown): void {
    const shown = this.#presentable(error)
    const fatal =
      shown.fields.severity === undefined || shown.fields.severity === 'ERROR'
        ? new DatabaseError(shown.sqlState, shown.message, { ...shown.fields, severity: 'FATAL' })
        : shown
    this.#outbox.error(fatal)
  }

  /** Closes our side and gives the client a moment to read, without which a reset could swallow the last words. */
  #hangUp(): void {
    this.#outbox.flush()
    this.#inbox.discard()
    this.#gone = true
    this.#socket.resume()
    if (this.#socket.destroyed) return
    this.#socket.end()
    const closed = new AbortController()
    this.#socket.once('close', () => closed.abort())
    this.#host.runtime
      .sleep(lingerMs, closed.signal)
      .then(() => this.#socket.destroy())
      .catch(() => {})
  }
}

export function adminShutdown(): DatabaseError {
  return new DatabaseError(
    SqlState.adminShutdown,
    'terminating connection due to administrator command',
    { severity: 'FATAL' },
  )
}

function authenticationTimeout(): DatabaseError {
  return new DatabaseError(SqlState.queryCanceled, 'canceling authentication due to timeout', {
    severity: 'FATAL',
  })
}

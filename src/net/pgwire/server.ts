import { timingSafeEqual } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Authenticate } from '#net/pgwire/authenticate.js'
import { Connection, type ConnectionHost } from '#net/pgwire/connection.js'
import type { OpenSession } from '#net/pgwire/session.js'

const authenticationTimeoutMs = 60_000
/** After the deadline of stop(): how long sessions get to obey before their sockets are cut. */
const obeyMs = 1000
/** Sockets that may be in the startup phase beyond connectionsMax: their cancel requests must get through. */
const startingMax = 100

export interface PgServerOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  readonly runtime: Runtime
  readonly authenticate: Authenticate
  readonly openSession: OpenSession
  /** Process ids are above it, as many as given: 0 and all there are by default. */
  readonly processIds?: { readonly above: number; readonly count: number } | undefined
  /** A cancel request for a process that is not here. */
  readonly cancelElsewhere?: ((processId: number, secretKey: Uint8Array) => void) | undefined
  /** max_connections. */
  readonly connectionsMax: number
  /** authentication_timeout; 60 s as PostgreSQL's. */
  readonly authenticationTimeoutMs?: number
  /** True: clients are told 57P03 until ready() is called. */
  readonly starting?: boolean
  /** An error of ours that a client was shown as XX000 with this id. */
  readonly internalError: (id: string, error: unknown) => void
}

export interface PgServer {
  readonly host: string
  readonly port: number
  /** Opened sessions and clients in their startup phase. */
  readonly connectionCount: number
  /** Sessions are opened from now on (see `starting`). */
  ready(): void
  /** A cancel request that came to another server. */
  cancelByKey(processId: number, secretKey: Uint8Array): void
  /** pg_cancel_backend: aborts what the connection runs. @returns false when there is no such connection */
  cancel(processId: number): boolean
  /** pg_terminate_backend. @returns false when there is no such connection */
  terminate(processId: number, error: DatabaseError): boolean
  /**
   * Accepts nobody any more; idle connections get 57P01 at once, the others when their transaction
   * ends, at the latest after `deadlineMs`, which aborts what runs. Resolves when all sessions are closed,
   * or two seconds after the deadline whether they are or not.
   */
  stop(deadlineMs: number): Promise<void>
}

/** Listens. @throws the error of listen (EADDRINUSE …) */
export async function openPgServer(options: PgServerOptions): Promise<PgServer> {
  const listener = new Listener(options)
  await listener.listen()
  return listener
}

interface Registered {
  readonly connection: Connection
  readonly run: Promise<void>
  secretKey: Uint8Array | undefined
}

class Listener implements PgServer {
  readonly #options: PgServerOptions
  readonly #server: Server
  readonly #connections = new Map<number, Registered>()
  readonly #mockSecret: Uint8Array
  /** Clients whose startup packet was accepted. */
  #admitted = 0
  #lastProcessId = 0
  #state: 'starting' | 'running' | 'stopping'

  constructor(options: PgServerOptions) {
    this.#options = options
    this.#state = options.starting === true ? 'starting' : 'running'
    this.#mockSecret = options.runtime.randomBytes(32)
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket),
    )
  }

  async listen(): Promise<void> {
    const { host, port } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: 511 }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    this.#server.on('error', (error) => this.#options.internalError('accept', error))
  }

  get host(): string {
    return this.#options.host
  }

  get port(): number {
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : this.#options.port
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  ready(): void {
    if (this.#state === 'starting') this.#state = 'running'
  }

  cancel(processId: number): boolean {
    const registered = this.#connections.get(processId)
    registered?.connection.cancel()
    return registered !== undefined
  }

  terminate(processId: number, error: DatabaseError): boolean {
    const registered = this.#connections.get(processId)
    registered?.connection.terminate(error)
    return registered !== undefined
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#state = 'stopping'
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const { connection } of this.#connections.values()) connection.drain()
    const over = new AbortController()
    const enforced = this.#enforce(deadlineMs, over.signal).catch(() => {})
    const ended = closed.then(() =>
      Promise.all([...this.#connections.values()].map(({ run }) => run)),
    )
    await Promise.race([ended, enforced])
    over.abort()
  }

  /** What happens to those who do not end by themselves: told to at the deadline, cut soon after. */
  async #enforce(deadlineMs: number, signal: AbortSignal): Promise<void> {
    const { runtime } = this.#options
    await runtime.sleep(deadlineMs, signal)
    for (const { connection } of this.#connections.values()) connection.terminate(shutdownError())
    await runtime.sleep(obeyMs, signal)
    for (const { connection } of this.#connections.values()) connection.destroy()
    await runtime.sleep(obeyMs, signal)
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= this.#options.connectionsMax + startingMax) {
      socket.destroy()
      return
    }
    const processId = this.#nextProcessId()
    const connection = new Connection(socket, this.#hostOf(processId))
    const run = connection.run()
    this.#connections.set(processId, { connection, run, secretKey: undefined })
  }

  #hostOf(processId: number): ConnectionHost {
    const { runtime, authenticate, openSession, internalError } = this.#options
    let admitted = false
    return {
      runtime,
      authenticate,
      openSession,
      internalError,
      processId,
      mockSecret: this.#mockSecret,
      startupTimeoutMs: this.#options.authenticationTimeoutMs ?? authenticationTimeoutMs,
      refusal: () => {
        const error = this.#refusal()
        if (error === undefined) {
          admitted = true
          this.#admitted += 1
        }
        return error
      },
      cancel: ({ processId: of, secretKey }) => {
        if (this.#connections.has(of)) this.cancelByKey(of, secretKey)
        else this.#options.cancelElsewhere?.(of, secretKey)
      },
      started: (_, secretKey) => {
        const registered = this.#connections.get(processId)
        if (registered !== undefined) registered.secretKey = secretKey
      },
      ended: () => {
        if (admitted) this.#admitted -= 1
        this.#connections.delete(processId)
      },
    }
  }

  /** As canAcceptConnections() and InitProcess() say it. */
  #refusal(): DatabaseError | undefined {
    if (this.#state === 'starting')
      return fatal(SqlState.cannotConnectNow, 'the database system is starting up')
    if (this.#state === 'stopping')
      return fatal(SqlState.cannotConnectNow, 'the database system is shutting down')
    if (this.#admitted >= this.#options.connectionsMax) {
      return fatal(SqlState.tooManyConnections, 'sorry, too many clients already')
    }
    return undefined
  }

  /** A wrong key is not answered, as nothing is: a cancel request never is. */
  cancelByKey(processId: number, secretKey: Uint8Array): void {
    const registered = this.#connections.get(processId)
    if (registered?.secretKey === undefined) return
    if (registered.secretKey.length !== secretKey.length) return
    if (timingSafeEqual(registered.secretKey, secretKey)) registered.connection.cancel()
  }

  /** Positive and unused; reused as late as possible, so that a late cancel request hits nobody else. */
  #nextProcessId(): number {
    const { above, count } = this.#options.processIds ?? { above: 0, count: 2 ** 31 }
    do {
      this.#lastProcessId = (this.#lastProcessId % (count - 1)) + 1
    } while (this.#connections.has(above + this.#lastProcessId))
    return above + this.#lastProcessId
  }
}

function shutdownError(): DatabaseError {
  return fatal(SqlState.adminShutdown, 'terminating connection due to administrator command')
}

function fatal(sqlState: string, message: string): DatabaseError {
  return new DatabaseError(sqlState, message, { severity: 'FATAL' })
}

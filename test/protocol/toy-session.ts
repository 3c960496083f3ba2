import { setImmediate as nextTurn } from 'node:timers/promises'
import { DatabaseError, SqlState } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { FieldDescription, TransactionStatus } from '#net/pgwire/backend.js'
import type { BindMessage, ParseMessage } from '#net/pgwire/message.js'
import { openPgServer, type PgServer, type PgServerOptions } from '#net/pgwire/server.js'
import type {
  ResponseWriter,
  Session,
  SessionRequest,
  StatementContext,
} from '#net/pgwire/session.js'

/**
 * A session that knows no SQL, only words that make the protocol happen:
 *
 *   select <text>     one row with one text column; `select $1` gives the parameter
 *   later <text>      the same, after a turn of the event loop
 *   rows <n>          n rows of 100 bytes, waiting where the client is slow
 *   notice <text>     a notice
 *   wait              until aborted
 *   timeout           the same, and aborts itself
 *   deaf              until release() of the log, whatever is aborted
 *   error, fatal, crash
 *   copy in, copy in <n> (fails after n chunks), copy out <n>
 *   begin, commit
 */
export class ToySession implements Session {
  transactionStatus: TransactionStatus = 'I'
  readonly parameterStatuses: readonly (readonly [string, string])[] = [
    ['server_version', '18.6'],
    ['client_encoding', 'UTF8'],
  ]
  readonly #statements = new Map<string, ParseMessage>()
  readonly #portals = new Map<string, { bind: BindMessage; sql: string; sent: number }>()
  readonly #log: ToyLog
  readonly #request: SessionRequest

  constructor(log: ToyLog, request: SessionRequest) {
    this.#log = log
    this.#request = request
  }

  async query(
    message: { readonly sql: string },
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<void> {
    const statements = message.sql.split(';').filter((sql) => sql.trim() !== '')
    if (statements.length === 0) out.emptyQueryResponse()
    for (const sql of statements) {
      const fields = describe(sql)
      if (fields !== undefined) out.rowDescription(fields)
      await this.#run(sql, [], out, context)
    }
  }

  parse(message: ParseMessage): void {
    if (message.name !== '' && this.#statements.has(message.name)) {
      throw new DatabaseError(
        SqlState.duplicatePreparedStatement,
        `prepared statement "${message.name}" already exists`,
      )
    }
    this.#statements.set(message.name, message)
  }

  bind(message: BindMessage): void {
    const { sql } = this.#statement(message.statement)
    this.#portals.set(message.portal, { bind: message, sql, sent: 0 })
  }

  describe(message: { target: 'statement' | 'portal'; name: string }, out: ResponseWriter): void {
    const sql =
      message.target === 'portal'
        ? this.#portal(message.name).sql
        : this.#statement(message.name).sql
    if (message.target === 'statement') out.parameterDescription(sql.includes('$1') ? [25] : [])
    const fields = describe(sql)
    if (fields === undefined) out.noData()
    else out.rowDescription(fields)
  }

  execute(
    message: { portal: string; rowCountMax: number },
    out: ResponseWriter,
    context: StatementContext,
  ): void | Promise<void> {
    const portal = this.#portal(message.portal)
    const { sql, bind } = portal
    const limited = /^rows (\d+)$/.exec(sql.trim())
    if (limited !== null && message.rowCountMax > 0) {
      const count = Math.min(message.rowCountMax, Number(limited[1]) - portal.sent)
      for (let row = 0; row < count; row += 1) out.dataRow([`row ${portal.sent + row}`])
      portal.sent += count
      if (portal.sent < Number(limited[1])) out.portalSuspended()
      else out.commandComplete(`SELECT ${portal.sent}`)
      return undefined
    }
    return this.#run(sql, bind.parameters, out, context)
  }

  closeNamed(message: { target: 'statement' | 'portal'; name: string }): void {
    if (message.target === 'statement') this.#statements.delete(message.name)
    else this.#portals.delete(message.name)
  }

  sync(): void {}

  functionCall(): void {
    throw new DatabaseError(SqlState.featureNotSupported, 'fastpath function call is not supported')
  }

  fail(error: DatabaseError): void {
    this.#log.failures.push(error)
    if (this.transactionStatus === 'T') this.transactionStatus = 'E'
  }

  close(): void {
    this.#log.open -= 1
  }

  #run(
    text: string,
    parameters: readonly (Uint8Array | null)[],
    out: ResponseWriter,
    context: StatementContext,
  ): void | Promise<void> {
    const sql = text.trim()
    const [verb = '', argument = ''] = sql.split(/ (.*)/s)
    this.#log.statements.push(sql)
    switch (verb) {
      case '':
        return out.emptyQueryResponse()
      case 'select':
        out.dataRow([argument === '$1' ? (parameters[0] ?? null) : argument])
        return out.commandComplete('SELECT 1')
      case 'later':
        return this.#later(argument, out)
      case 'rows':
        return sendRows(Number(argument), out)
      case 'notice':
        out.notice({ severity: 'NOTICE', sqlState: '00000', message: argument })
        return out.commandComplete('DO')
      case 'notify':
        this.#request.client.notify(this.#request.processId, 'toy', argument)
        return out.commandComplete('NOTIFY')
      case 'wait':
        return untilAborted(context.signal)
      case 'timeout':
        context.abort(new DatabaseError('57014', 'canceling statement due to statement timeout'))
        return untilAborted(context.signal)
      case 'deaf':
        return this.#log.released
      case 'copy':
        return this.#copy(argument, out)
      case 'begin':
        this.transactionStatus = 'T'
        return out.commandComplete('BEGIN')
      case 'commit':
        this.transactionStatus = 'I'
        return out.commandComplete('COMMIT')
      case 'error':
        throw new DatabaseError(SqlState.syntaxError, 'you asked for it', {
          hint: 'do not ask',
          position: 1,
        })
      case 'fatal':
        throw new DatabaseError(SqlState.adminShutdown, 'the end', { severity: 'FATAL' })
      case 'crash':
        throw new TypeError('a secret of ours')
      default:
        throw new DatabaseError(SqlState.syntaxError, `syntax error at or near "${verb}"`)
    }
  }

  async #later(argument: string, out: ResponseWriter): Promise<void> {
    await nextTurn()
    out.dataRow([argument])
    out.commandComplete('SELECT 1')
  }

  async #copy(argument: string, out: ResponseWriter): Promise<void> {
    const [direction, count] = argument.split(' ')
    if (direction === 'out') {
      out.copyOut('text', 1)
      for (let row = 0; row < Number(count); row += 1) {
        out.copyData(Buffer.from(`row ${row}\n`))
        if (out.full) await out.drain()
      }
      out.copyDone()
      return out.commandComplete(`COPY ${count}`)
    }
    let chunks = 0
    let bytes = 0
    for await (const data of out.copyIn('text', 1)) {
      chunks += 1
      bytes += data.length
      this.#log.copied.push(Buffer.from(data))
      if (chunks === Number(count)) throw new DatabaseError(SqlState.badCopyFileFormat, 'bad row')
    }
    out.commandComplete(`COPY ${bytes}`)
  }

  #statement(name: string): ParseMessage {
    const statement = this.#statements.get(name)
    if (statement !== undefined) return statement
    throw new DatabaseError(
      SqlState.invalidSqlStatementName,
      `prepared statement "${name}" does not exist`,
    )
  }

  #portal(name: string): { bind: BindMessage; sql: string; sent: number } {
    const portal = this.#portals.get(name)
    if (portal !== undefined) return portal
    throw new DatabaseError(SqlState.invalidCursorName, `portal "${name}" does not exist`)
  }
}

/** What the toy sessions of one server did. */
export class ToyLog {
  readonly statements: string[] = []
  readonly failures: DatabaseError[] = []
  readonly copied: Buffer[] = []
  readonly internalErrors: unknown[] = []
  readonly requests: SessionRequest[] = []
  /** Sessions not closed yet. */
  open = 0
  release: () => void = () => {}
  readonly released = new Promise<void>((resolve) => {
    this.release = resolve
  })
}

export interface Toy extends AsyncDisposable {
  readonly server: PgServer
  readonly log: ToyLog
  readonly port: number
}

export async function openToy(options: Partial<PgServerOptions> = {}): Promise<Toy> {
  const log = new ToyLog()
  const server = await openPgServer({
    host: '127.0.0.1',
    port: 0,
    runtime: systemRuntime,
    authenticate: () => ({ method: 'trust' }),
    openSession: async (request) => {
      log.open += 1
      log.requests.push(request)
      return new ToySession(log, request)
    },
    connectionsMax: 100,
    internalError: (_, error) => log.internalErrors.push(error),
    ...options,
  })
  return { server, log, port: server.port, [Symbol.asyncDispose]: () => server.stop(0) }
}

function describe(sql: string): FieldDescription[] | undefined {
  if (!/^\s*(select|later|rows)/.test(sql)) return undefined
  return [
    { name: 'answer', tableOid: 0, attnum: 0, typeOid: 25, typeSize: -1, typmod: -1, format: 0 },
  ]
}

async function sendRows(count: number, out: ResponseWriter): Promise<void> {
  const value = 'x'.repeat(100)
  for (let row = 0; row < count; row += 1) {
    out.dataRow([value])
    if (out.full) await out.drain()
  }
  out.commandComplete(`SELECT ${count}`)
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
  })
}

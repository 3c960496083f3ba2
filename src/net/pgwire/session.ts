import type { Context } from '#base/context.js'
import type { DatabaseError } from '#base/errors.js'
import type {
  CopyFormat,
  FieldDescription,
  TransactionStatus,
  WireValue,
} from '#net/pgwire/backend.js'
import type { Notice } from '#net/pgwire/error-response.js'
import type {
  BindMessage,
  CloseMessage,
  DescribeMessage,
  ExecuteMessage,
  FunctionCallMessage,
  ParseMessage,
  QueryMessage,
} from '#net/pgwire/message.js'

/** Nothing to wait for (the fast case: costs no turn of the event loop) or a promise. */
export type Awaitable = void | Promise<void>

/**
 * What stands behind one connection: SQL. The connection calls it with one message at a time, in
 * the order of the client, never two at once, and awaits what it returns.
 *
 * A session only does its work and throws. The connection
 * - answers ParseComplete, BindComplete, CloseComplete and ReadyForQuery itself, after the method
 *   has returned; everything else (row descriptions, rows, tags) the session writes to `out`;
 * - turns what is thrown into an ErrorResponse, calls fail(), and then sends ReadyForQuery (query,
 *   sync) or skips messages until Sync (the others). FATAL errors end the connection. What is not
 *   a DatabaseError is shown as XX000 with an identifier and logged;
 * - aborts `context.signal` on a cancel request (57014), when the client has gone (08006), and when the
 *   server stops (57P01); the reason is the DatabaseError to throw.
 */
export interface Session {
  /** Read for every ReadyForQuery. */
  readonly transactionStatus: TransactionStatus

  /** The ParameterStatus messages of the start, in this order (server_version, client_encoding, …). */
  readonly parameterStatuses: Iterable<readonly [name: string, value: string]>

  /**
   * A simple query: any number of statements. Writes for each its RowDescription, rows and
   * CommandComplete, or EmptyQueryResponse when there is no statement at all.
   */
  query(message: QueryMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /** Keeps the statement under its name. */
  parse(message: ParseMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /** Makes a portal. Parameters are views into a chunk of up to 64 KiB: copy what lives long. */
  bind(message: BindMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /**
   * Of a statement: writes ParameterDescription, then RowDescription (formats 0) or NoData.
   * Of a portal: RowDescription with the portal's formats, or NoData.
   */
  describe(message: DescribeMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /** Writes rows (no RowDescription), then CommandComplete, PortalSuspended or EmptyQueryResponse. */
  execute(message: ExecuteMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /** Forgets a statement or a portal; one that does not exist is no error. */
  closeNamed(message: CloseMessage, out: ResponseWriter, context: StatementContext): Awaitable

  /** The end of an extended batch: commits the implicit transaction, or rolls it back after an error. */
  sync(out: ResponseWriter, context: StatementContext): Awaitable

  /** The fast-path function call of old clients: throw 0A000. */
  functionCall(
    message: FunctionCallMessage,
    out: ResponseWriter,
    context: StatementContext,
  ): Awaitable

  /**
   * Called once for every error that was sent as an ERROR, whoever raised it: rolls back the implicit
   * transaction, or makes an open block a failed one. Not called after a FATAL error: close() is.
   */
  fail(error: DatabaseError): Awaitable

  /** Called once, when no method is running and none will be called: rolls back, releases locks and memory. */
  close(): Awaitable
}

/** The context of one message. */
export interface StatementContext extends Context {
  /** Given by the session when it begins a statement. */
  queryId?: string | undefined
  /** Aborts `signal` with this reason: for statement_timeout and the like. The first reason wins. */
  abort(reason: DatabaseError): void
}

/**
 * Where a session writes its answers. Writes never block and never fail: they are collected and go
 * to the socket in large pieces. A session that writes much asks `full` after each row or batch:
 *
 *   out.dataRow(values)
 *   if (out.full) await out.drain()
 *
 * After the client has gone, writes are swallowed, and drain() throws.
 */
export interface ResponseWriter {
  rowDescription(fields: readonly FieldDescription[]): void
  noData(): void
  parameterDescription(typeOids: readonly number[]): void
  /** The values are copied. */
  dataRow(values: readonly WireValue[]): void
  commandComplete(tag: string): void
  emptyQueryResponse(): void
  portalSuspended(): void
  notice(notice: Notice): void
  /** A reported setting has changed. */
  parameterStatus(name: string, value: string): void

  /**
   * Whole backend messages as they are, from an embedded PostgreSQL. Long ones are not copied: the
   * bytes belong to the writer from now on. ReadyForQuery, ParseComplete, BindComplete and CloseComplete must
   * not be among them (backend-parse.ts finds them).
   */
  raw(messages: Uint8Array): void

  /**
   * COPY FROM STDIN: sends CopyInResponse and yields the client's bytes, cut anywhere. Ends at
   * CopyDone; throws 57014 at CopyFail, 08P01 at a message that has no place there, and the signal's
   * reason. Leaving the loop early is fine: the rest is skipped. A chunk is valid as long as it is held.
   */
  copyIn(format: CopyFormat, columnCount: number): AsyncIterable<Uint8Array>

  /** COPY TO STDOUT: copyOut, copyData for each row or block, copyDone; then commandComplete. */
  copyOut(format: CopyFormat, columnCount: number): void
  copyData(data: Uint8Array): void
  copyDone(): void

  /** More is waiting than the client takes: await drain() before writing on. */
  readonly full: boolean
  /** Resolves when there is room again. @throws the reason when the statement is aborted, 08006 when the client has gone. */
  drain(): Promise<void>
  /** Sends now what is collected: before a long wait whose progress the client should see. */
  flush(): void
}

/** A client that has been authenticated and wants a session. */
export interface SessionRequest {
  readonly user: string
  readonly database: string
  /** All parameters of the startup packet, user and database included; `_pq_.` options are left out. */
  readonly parameters: ReadonlyMap<string, string>
  /** As in BackendKeyData and pg_stat_activity.pid. */
  readonly processId: number
  readonly remote: RemoteAddress
  readonly client: ClientPort
}

/** What a session may do to its connection outside of an answer. */
export interface ClientPort {
  /** NotificationResponse, sent as soon as the client is outside of a transaction. */
  notify(processId: number, channel: string, payload: string): void
  /** Ends the connection with a FATAL error (pg_terminate_backend: 57P01), aborting what runs. */
  terminate(error: DatabaseError): void
  /** As a cancel request: aborts what runs, if anything, with 57014. */
  cancel(): void
}

export interface RemoteAddress {
  readonly host: string
  readonly port: number
}

/** @throws DatabaseError to refuse (3D000, 28000 …): it is shown as FATAL. */
export type OpenSession = (request: SessionRequest, signal: AbortSignal) => Promise<Session>

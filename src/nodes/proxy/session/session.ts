/**
 * One client's session: messages in, answers out. Owns the transaction, the prepared statements and the portals; what a
 * statement does is in statements/.
 *
 * Transactions: outside of BEGIN everything up to Sync (or the end of a simple query) is one implicit transaction, as in
 * PostgreSQL. DDL in an implicit extended-protocol transaction commits at Execute, so that a long index build is over
 * when its tag is sent.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { timestampZero } from '#base/timestamp.js'
import type { TransactionStatus } from '#net/pgwire/backend.js'
import type {
  BindMessage,
  CloseMessage,
  DescribeMessage,
  ExecuteMessage,
  FunctionCallMessage,
  ParseMessage,
  QueryMessage,
} from '#net/pgwire/message.js'
import type {
  Awaitable,
  ResponseWriter,
  Session,
  SessionRequest,
  StatementContext,
} from '#net/pgwire/session.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import { commitTransaction, mayHaveCommitted } from '#nodes/proxy/session/commit.js'
import { inWhole } from '#nodes/proxy/session/error-position.js'
import type { SessionMemory } from '#nodes/proxy/session/memory.js'
import { closePortal, startPortal, writeRows } from '#nodes/proxy/session/portal-rows.js'
import {
  bindPortal,
  checkSameColumns,
  isDescribed,
  type PreparedStatement,
  portalOf,
  statementOf,
  type ToldColumns,
} from '#nodes/proxy/session/prepared.js'
import { refuseInFailedBlock } from '#nodes/proxy/session/refuse-failed.js'
import type { RunningStatement } from '#nodes/proxy/session/registry.js'
import { retryConflicts } from '#nodes/proxy/session/retry-conflicts.js'
import { SessionLocks } from '#nodes/proxy/session/session-locks.js'
import { Settings } from '#nodes/proxy/session/settings.js'
import { serverParameters } from '#nodes/proxy/session/start.js'
import { withStatementTimeout } from '#nodes/proxy/session/statement-timeout.js'
import { tellStatement } from '#nodes/proxy/session/tell-statement.js'
import { type IsolationLevel, Transaction } from '#nodes/proxy/session/transaction.js'
import { describeUtility } from '#nodes/proxy/statements/describe-utility.js'
import { runStatement } from '#nodes/proxy/statements/dispatch.js'
import { formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { type ParsedStatement, parseStatements } from '#postgres/classify.js'
import type { BoundStatement, CatalogSnapshot, Description } from '#postgres/contract.js'

const noPlan: readonly number[] = []

/** Nothing of them has reached the client or the transaction when they fail. */
const mayRunAgain: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge'])

export class ProxySession implements Session {
  readonly #environment: ProxyEnvironment
  readonly #settings: Settings
  readonly #memory: SessionMemory
  readonly #locks: SessionLocks
  #transaction: Transaction
  #beforeBlock: ReturnType<Settings['snapshot']> | undefined
  /** Settings that changed, to be reported with the next answer. */
  #reports: [string, string][] = []
  /** Begun in this session. */
  #statements = 0
  #running: RunningStatement = { sql: '', active: false, startedMs: 0 }

  constructor(
    environment: ProxyEnvironment,
    request: SessionRequest,
    initial: ReadonlyMap<string, string>,
  ) {
    this.#environment = environment
    this.#settings = new Settings(
      request.user,
      initial,
      (name, value) => this.#reports.push([name, value]),
      request.processId,
    )
    const number = environment.sessions.nextNumber()
    this.#locks = new SessionLocks(
      environment.locks,
      environment.proxyId,
      number,
      request.processId,
    )
    this.#transaction = this.#newTransaction('implicit')
    const listening = new Set<string>()
    this.#memory = {
      sessionSequences: [],
      processId: request.processId,
      user: request.user,
      database: request.database,
      initialSettings: initial,
      statements: new Map(),
      portals: new Map(),
      lastSeen: timestampZero,
      knowsSerializable: false,
      listening,
      locks: this.#locks,
      otherProcesses: [],
      control: {
        current: () => this.#transaction,
        begin: async () => this.#beginBlock(),
        commit: (context) => this.#commit(context),
        rollback: () => this.#rollback(),
      },
      reportIfWatched: (name, value) => this.#settings.report(name, value),
    }
    environment.sessions.add({
      number,
      processId: request.processId,
      user: request.user,
      database: request.database,
      client: request.client,
      listening,
      remoteHost: request.remote.host,
      remotePort: request.remote.port,
      startedMs: environment.runtime.nowMs(),
      applicationName: () => this.#settings.get('application_name') ?? '',
      activity: () => ({
        running: this.#running,
        transactionStartMs:
          this.#transaction.kind === 'explicit' ? this.#transaction.startMs : undefined,
      }),
    })
  }

  get transactionStatus(): TransactionStatus {
    if (this.#transaction.kind === 'implicit') return 'I'
    return this.#transaction.failed ? 'E' : 'T'
  }

  get parameterStatuses(): Iterable<readonly [string, string]> {
    return serverParameters(this.#settings, this.#environment.postgres.catalog())
  }

  #newTransaction(kind: Transaction['kind']): Transaction {
    const isolation = (this.#settings.get('default_transaction_isolation') ??
      'read committed') as IsolationLevel
    const readOnly = this.#settings.get('default_transaction_read_only') === 'on'
    return new Transaction(kind, this.#environment.runtime.nowMs(), isolation, readOnly)
  }

  #beginBlock(): void {
    // Statements of the same simple query that came before BEGIN belong to the block, as in PostgreSQL.
    const before = this.#transaction
    this.#beforeBlock = this.#settings.snapshot()
    this.#transaction = this.#newTransaction('explicit')
    this.#transaction.adopt(before)
  }

  async #commit(context: Context): Promise<void> {
    const transaction = this.#transaction
    const before =
      transaction.pendingDdl.length > 0 ? this.#environment.postgres.catalog() : undefined
    try {
      const { processId } = this.#memory
      const committedAt = await commitTransaction(
        transaction,
        this.#environment,
        context,
        processId,
        this.#locks,
      )
      if (committedAt > this.#memory.lastSeen) this.#memory.lastSeen = committedAt
    } catch (error) {
      await this.#rollback(mayHaveCommitted(error))
      throw error
    }
    await this.#forgetSequences(before, this.#environment.postgres.catalog())
    this.#settings.endTransaction()
    await this.#end(transaction)
    for (const done of transaction.atCommit) done()
  }

  async #rollback(isUnclear = false): Promise<void> {
    const transaction = this.#transaction
    for (const { rows } of transaction.staged) await rows.abort()
    if (transaction.kind === 'explicit' && this.#beforeBlock !== undefined)
      this.#settings.restore(this.#beforeBlock)
    await this.#forgetSequences(transaction.catalog, this.#environment.postgres.catalog())
    await this.#end(transaction, isUnclear)
  }

  async #forgetSequences(gone: CatalogSnapshot | undefined, kept: CatalogSnapshot): Promise<void> {
    if (gone === undefined) return
    const oids = [...gone.sequences.keys()].filter((oid) => !kept.sequences.has(oid))
    if (oids.length > 0) await this.#environment.sequences.forget(oids)
  }

  async #end(transaction: Transaction, isUnclear = false): Promise<void> {
    this.#transaction = this.#newTransaction('implicit')
    this.#beforeBlock = undefined
    transaction.releaseDdlLock()
    await this.#locks.endTransaction(isUnclear)
    if (this.#memory.portals.size === 0) return
    for (const [name, portal] of this.#memory.portals) {
      if (portal.holdable) continue
      await closePortal(portal.running)
      this.#memory.portals.delete(name)
    }
  }

  async query(
    message: QueryMessage,
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<void> {
    const statements = parseStatements(message.sql)
    if (statements.length === 0) out.emptyQueryResponse()
    for (const [i, parsed] of statements.entries()) {
      const bound = {
        sql: parsed.sql,
        parameterTypes: [],
        parameters: [],
        parameterFormats: [],
        resultFormats: [],
      }
      const last = i === statements.length - 1
      let isLost = false
      const run = async (): Promise<void> => {
        isLost = false
        const result = await this.#run(parsed, bound, out, context)
        if (result.fields !== undefined) out.rowDescription(result.fields)
        const portal = startPortal(result)
        await writeRows(portal, 0, out)
        if (last && this.#transaction.kind === 'implicit') {
          isLost = result.fields === undefined
          await this.#commit(context)
          isLost = false
        }
        this.#writeReports(out)
        out.commandComplete(result.tag(portal.sent))
      }
      const isAlone = statements.length === 1 && mayRunAgain.has(parsed.kind)
      const { runtime } = this.#environment
      await this.#told(parsed, context, () =>
        this.#guarded(parsed, message.sql, context, () =>
          isAlone && this.#transaction.isolation.startsWith('read ')
            ? retryConflicts(runtime, context, run, () => isLost)
            : run(),
        ),
      )
    }
    this.#idle()
  }

  /** The work gets its query id, and how it ended is told. */
  async #told(
    parsed: ParsedStatement | undefined,
    context: StatementContext,
    work: () => Awaitable,
  ): Promise<void> {
    this.#statements += 1
    context.queryId = `${this.#memory.processId}.${this.#statements}`
    await tellStatement(this.#environment, { parsed, context, user: this.#memory.user }, work)
  }

  async #guarded(
    parsed: ParsedStatement,
    sql: string,
    context: StatementContext,
    work: () => Promise<void>,
  ): Promise<void> {
    try {
      await withStatementTimeout(this.#settings, this.#environment.runtime, context, work)
    } catch (error) {
      throw inWhole(error, parsed, sql)
    }
  }

  #run(
    parsed: ParsedStatement,
    bound: BoundStatement,
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<Result> {
    refuseInFailedBlock(this.#transaction, parsed)
    const nowMs = this.#environment.runtime.nowMs()
    if (this.#transaction.kind === 'implicit' && this.#transaction.isUntouched)
      this.#transaction.startMs = nowMs
    this.#running = { sql: bound.sql, active: true, startedMs: nowMs }
    // Reads in the past: nothing can be changed there. Stays so until the transaction ends.
    if (this.#settings.get('elanus.read_time') !== '') this.#transaction.readOnly = true
    const { others } = this.#environment
    if (others?.isCatalogCurrent() === false) {
      return others.refreshCatalog().then(() => this.#runNow(parsed, bound, out, context))
    }
    return this.#runNow(parsed, bound, out, context)
  }

  #runNow(
    parsed: ParsedStatement,
    bound: BoundStatement,
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<Result> {
    const execution = this.#execution(parsed, bound, out, context)
    return runStatement(execution).catch(async (error: unknown) => {
      if (!mayRunAgain.has(parsed.kind)) throw error
      await this.#environment.catalogChanges.settled()
      if (!this.#catalogMoved(execution)) throw error
      return this.#run(parsed, bound, out, context)
    })
  }

  /** CAT-1: evaluators follow the catalog at once. A statement that was planned before a change starts anew. */
  #catalogMoved({ catalog, transaction }: Execution): boolean {
    return transaction.catalog === undefined && this.#environment.postgres.catalog() !== catalog
  }

  /** Nothing runs any more: pg_stat_activity says idle. */
  #idle(): void {
    if (this.#running.active) this.#running = { ...this.#running, active: false }
  }

  #execution(
    parsed: ParsedStatement,
    bound: BoundStatement,
    out: ResponseWriter,
    context: Context,
  ): Execution {
    return {
      environment: this.#environment,
      parsed,
      bound,
      settings: this.#settings,
      transaction: this.#transaction,
      memory: this.#memory,
      catalog: this.#transaction.catalog ?? this.#environment.postgres.catalog(),
      context,
      snapshot: { at: undefined },
      out,
    }
  }

  #writeReports(out: ResponseWriter): void {
    if (this.#reports.length === 0) return
    for (const [name, value] of this.#reports) out.parameterStatus(name, value)
    this.#reports = []
  }

  parse(message: ParseMessage, out: ResponseWriter, context: StatementContext): Awaitable {
    const { name, sql, parameterTypes } = message
    if (name !== '' && this.#memory.statements.has(name)) {
      throw new DatabaseError(
        SqlState.duplicatePreparedStatement,
        `prepared statement "${name}" already exists`,
      )
    }
    const statements = parseStatements(sql)
    if (statements.length > 1) {
      throw new DatabaseError(
        SqlState.syntaxError,
        'cannot insert multiple commands into a prepared statement',
      )
    }
    const [parsed] = statements
    if (parsed !== undefined) refuseInFailedBlock(this.#transaction, parsed)
    const keep = (types: readonly number[], told?: ToldColumns): void => {
      const kept = { sql: parsed?.sql ?? '', parsed, parameterTypes: types, told }
      this.#memory.statements.set(name, kept)
    }
    if (parsed === undefined || !isDescribed(parsed))
      return keep(parsed === undefined ? noPlan : parameterTypes)
    return this.#guarded(parsed, sql, context, async () => {
      const execution = this.#execution(parsed, { ...emptyBound, sql: parsed.sql }, out, context)
      const description = await describeStatement({ sql: parsed.sql, parameterTypes }, execution)
      keep(description.parameterTypes, { catalog: execution.catalog, fields: description.fields })
    })
  }

  bind(message: BindMessage): Awaitable {
    const { parsed } = statementOf(this.#memory, message.statement)
    const previous = this.#memory.portals.get(message.portal)
    const portal = bindPortal(this.#memory, message)
    if (parsed !== undefined) refuseInFailedBlock(this.#transaction, parsed)
    this.#memory.portals.set(message.portal, portal)
    return closePortal(previous?.running)
  }

  async describe(
    message: DescribeMessage,
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<void> {
    if (message.target === 'statement') {
      const statement = statementOf(this.#memory, message.name)
      const description = await this.#describe(statement, out, context)
      out.parameterDescription(description.parameterTypes)
      if (description.fields.length === 0) out.noData()
      else out.rowDescription(description.fields.map((field) => ({ ...field, format: 0 })))
      return
    }
    const portal = portalOf(this.#memory, message.name)
    if (portal.running?.result.fields !== undefined) {
      out.rowDescription(portal.running.result.fields)
      return
    }
    const { fields } = await this.#describe(portal.statement, out, context)
    const formats = formatsOf(portal.resultFormats, fields.length)
    if (fields.length === 0) out.noData()
    else out.rowDescription(fields.map((field, i) => ({ ...field, format: formats[i] ?? 0 })))
  }

  async #describe(
    statement: PreparedStatement,
    out: ResponseWriter,
    context: Context,
  ): Promise<Description> {
    const { parsed } = statement
    if (parsed === undefined) return { parameterTypes: [], fields: [] }
    const bound = { ...emptyBound, sql: statement.sql, parameterTypes: statement.parameterTypes }
    const execution = this.#execution(parsed, bound, out, context)
    if (!isDescribed(parsed)) return describeUtility(execution)
    return describeStatement(
      { sql: statement.sql, parameterTypes: statement.parameterTypes },
      execution,
    )
  }

  /** After DDL, also of others. @throws 0A000 */
  async #checkColumns(
    statement: PreparedStatement,
    out: ResponseWriter,
    context: Context,
  ): Promise<void> {
    const { told } = statement
    const catalog = this.#transaction.catalog ?? this.#environment.postgres.catalog()
    if (told === undefined || told.catalog === catalog) return
    const { fields } = await this.#describe(statement, out, context)
    checkSameColumns(told, fields)
    statement.told = { catalog, fields }
  }

  async execute(
    message: ExecuteMessage,
    out: ResponseWriter,
    context: StatementContext,
  ): Promise<void> {
    const portal = portalOf(this.#memory, message.portal)
    const { parsed, sql, parameterTypes } = portal.statement
    if (parsed === undefined) return out.emptyQueryResponse()
    const { runtime } = this.#environment
    await this.#told(parsed, context, () =>
      withStatementTimeout(this.#settings, runtime, context, async () => {
        if (portal.running === undefined) {
          const { parameters, parameterFormats, resultFormats } = portal
          const bound = { sql, parameterTypes, parameters, parameterFormats, resultFormats }
          await this.#checkColumns(portal.statement, out, context)
          portal.running = startPortal(await this.#run(parsed, bound, out, context))
        }
        const running = portal.running
        const before = running.sent
        const ended = await writeRows(running, Math.max(0, message.rowCountMax), out)
        if (!ended) return out.portalSuspended()
        if (this.#transaction.kind === 'implicit' && this.#transaction.pendingDdl.length > 0)
          await this.#commit(context)
        this.#writeReports(out)
        out.commandComplete(running.result.tag(running.sent - before))
      }),
    )
  }

  async closeNamed(message: CloseMessage): Promise<void> {
    if (message.target === 'statement') {
      this.#memory.statements.delete(message.name)
      return
    }
    const portal = this.#memory.portals.get(message.name)
    this.#memory.portals.delete(message.name)
    await closePortal(portal?.running)
  }

  sync(_out: ResponseWriter, context: StatementContext): Awaitable {
    this.#idle()
    if (this.#transaction.kind === 'explicit') return
    const { isUntouched } = this.#transaction
    if (isUntouched && this.#memory.portals.size === 0 && !this.#locks.isHeld) return
    return this.#told(undefined, context, () => this.#commit(context))
  }

  functionCall(_message: FunctionCallMessage): void {
    throw notSupported(
      'the fast-path function call is not supported',
      'Call the function in a SELECT.',
    )
  }

  fail(_error: DatabaseError): Awaitable {
    this.#idle()
    if (this.#transaction.kind === 'implicit') return this.#rollback()
    this.#transaction.failed = true
    return this.#locks.fail(this.#transaction.savepoints.at(-1)?.mark)
  }

  async close(): Promise<void> {
    await this.#rollback()
    await this.#locks.close()
    this.#environment.sessions.remove(this.#memory.processId)
    for (const portal of this.#memory.portals.values()) await closePortal(portal.running)
    this.#memory.portals.clear()
  }
}

const emptyBound: BoundStatement = {
  sql: '',
  parameterTypes: [],
  parameters: [],
  parameterFormats: [],
  resultFormats: [],
}

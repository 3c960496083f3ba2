/**
 * Four kinds of errors: theirs (DatabaseError, shown to the client with its SQLSTATE), the store's (StoreError) and the
 * network's (UnreachableError), which say whether it may have happened, and ours (InvariantError, XX000).
 */

/** SQLSTATEs that Elanus raises itself; PostgreSQL's errcodes.txt is the source. */
export const SqlState = {
  successfulCompletion: '00000',
  protocolViolation: '08P01',
  connectionFailure: '08006',
  transactionResolutionUnknown: '08007',
  featureNotSupported: '0A000',
  dataException: '22000',
  numericValueOutOfRange: '22003',
  invalidTextRepresentation: '22P02',
  invalidBinaryRepresentation: '22P03',
  badCopyFileFormat: '22P04',
  invalidParameterValue: '22023',
  sequenceGeneratorLimitExceeded: '2200H',
  notNullViolation: '23502',
  foreignKeyViolation: '23503',
  uniqueViolation: '23505',
  checkViolation: '23514',
  activeSqlTransaction: '25001',
  noActiveSqlTransaction: '25P01',
  inFailedSqlTransaction: '25P02',
  invalidSqlStatementName: '26000',
  invalidAuthorizationSpecification: '28000',
  invalidPassword: '28P01',
  invalidSavepointSpecification: '3B001',
  invalidCursorName: '34000',
  invalidCatalogName: '3D000',
  serializationFailure: '40001',
  syntaxError: '42601',
  insufficientPrivilege: '42501',
  undefinedTable: '42P01',
  undefinedColumn: '42703',
  undefinedObject: '42704',
  duplicateCursor: '42P03',
  duplicatePreparedStatement: '42P05',
  duplicateTable: '42P07',
  objectNotInPrerequisiteState: '55000',
  cantChangeRuntimeParam: '55P02',
  lockNotAvailable: '55P03',
  outOfMemory: '53200',
  diskFull: '53100',
  tooManyConnections: '53300',
  programLimitExceeded: '54000',
  statementTooComplex: '54001',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  cannotConnectNow: '57P03',
  ioError: '58030',
  snapshotTooOld: '72000',
  internalError: 'XX000',
  dataCorrupted: 'XX001',
} as const
export type SqlState = string

/** Optional fields of PostgreSQL's ErrorResponse (protocol-error-fields). */
export interface ErrorFields {
  readonly severity?: 'ERROR' | 'FATAL' | 'PANIC'
  readonly detail?: string
  readonly hint?: string
  /** 1-based character position in the statement. */
  readonly position?: number
  readonly where?: string
  readonly schema?: string
  readonly table?: string
  readonly column?: string
  readonly dataType?: string
  readonly constraint?: string
  /** Of a statement inside a function: its text and the 1-based position in it. */
  readonly internalQuery?: string
  readonly internalPosition?: number
  /** Where PostgreSQL raised it: kept when an embedded instance's error is passed on. */
  readonly file?: string
  readonly line?: number
  readonly routine?: string
  readonly cause?: unknown
}

/** An error meant for the client: PostgreSQL's SQLSTATE and PostgreSQL's words where it has them. */
export class DatabaseError extends Error {
  readonly sqlState: SqlState
  readonly fields: ErrorFields

  constructor(sqlState: SqlState, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'DatabaseError'
    this.sqlState = sqlState
    this.fields = fields
  }
}

/** 0A000 with a hint: the answer to everything that is parsed but not executed. */
export function notSupported(what: string, hint?: string): DatabaseError {
  return new DatabaseError(SqlState.featureNotSupported, what, hint === undefined ? {} : { hint })
}

/** A store failed. 'indeterminate': the write may have happened, the caller must find out. */
export class StoreError extends Error {
  readonly outcome: 'determinate' | 'indeterminate'
  /** 'full': it has no room for more. 'unreachable': who keeps it does not answer. */
  readonly reason: 'full' | 'unreachable' | undefined

  constructor(
    outcome: 'determinate' | 'indeterminate',
    message: string,
    cause?: unknown,
    reason?: 'full' | 'unreachable',
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StoreError'
    this.outcome = outcome
    this.reason = reason
  }
}

/** A store's failure as the client sees it: 53100 when it is full, 08006 when nobody answers for it, else 58030. */
export function shownStoreError(error: StoreError): DatabaseError {
  if (error.reason === 'unreachable') return shownUnreachable(error)
  if (error.reason !== 'full') {
    return new DatabaseError(SqlState.ioError, error.message, {
      hint: 'A store that the server stands on refuses or does not answer: see its log. Try again when it does.',
      cause: error,
    })
  }
  return new DatabaseError(SqlState.diskFull, error.message, {
    hint: 'Free some space and try again: the server need not be restarted, and reads go on.',
    cause: error,
  })
}

/** Another node gave no answer. 'indeterminate': it may have got the request and done what it says. */
export class UnreachableError extends Error {
  readonly outcome: 'determinate' | 'indeterminate'

  constructor(outcome: 'determinate' | 'indeterminate', message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'UnreachableError'
    this.outcome = outcome
  }
}

/** Something that must hold does not: a defect of ours. */
export class InvariantError extends Error {
  readonly invariantName: string

  constructor(invariantName: string, message: string) {
    super(`${invariantName}: ${message}`)
    this.name = 'InvariantError'
    this.invariantName = invariantName
  }
}

/** Checks what must hold by its name (docs/glossary.md lists them). @throws InvariantError */
export function invariant(
  name: string,
  condition: boolean,
  message: string | (() => string),
): asserts condition {
  if (!condition) throw new InvariantError(name, typeof message === 'string' ? message : message())
}

/** For `satisfies never` at the end of a switch over a union. */
export function unreachable(value: never): never {
  throw new InvariantError('unreachable', `unexpected case ${JSON.stringify(value)}`)
}

/** Of a node that gave no answer. */
export function shownUnreachable(error: StoreError | UnreachableError): DatabaseError {
  const hint =
    error.outcome === 'determinate'
      ? 'Another node takes over within seconds, unless none is left: try again.'
      : 'Another node takes over within seconds, unless none is left. What was changed may be there: look before you try again.'
  return new DatabaseError(SqlState.connectionFailure, error.message, { hint, cause: error })
}

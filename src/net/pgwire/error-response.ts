import {
  DatabaseError,
  type ErrorFields,
  SqlState,
  StoreError,
  shownStoreError,
  shownUnreachable,
  UnreachableError,
} from '#base/errors.js'
import { BackendType } from '#net/pgwire/backend.js'
import type { ByteWriter } from '#net/pgwire/byte-writer.js'

/** A message that does not end the statement. */
export interface Notice extends Omit<ErrorFields, 'severity' | 'cause'> {
  readonly severity: 'WARNING' | 'NOTICE' | 'DEBUG' | 'INFO' | 'LOG'
  /** '00000' for most notices, a code of class 01 for warnings. */
  readonly sqlState: string
  readonly message: string
}

/** Field codes: postgres_ext.h, PG_DIAG_*. */
const textFields = [
  ['D', 'detail'],
  ['H', 'hint'],
  ['q', 'internalQuery'],
  ['W', 'where'],
  ['s', 'schema'],
  ['t', 'table'],
  ['c', 'column'],
  ['d', 'dataType'],
  ['n', 'constraint'],
  ['F', 'file'],
  ['R', 'routine'],
] as const
const numberFields = [
  ['P', 'position'],
  ['p', 'internalPosition'],
  ['L', 'line'],
] as const

export function writeErrorResponse(writer: ByteWriter, error: DatabaseError): void {
  writer.begin(BackendType.errorResponse)
  writeFields(writer, error.fields.severity ?? 'ERROR', error.sqlState, error.message, error.fields)
  writer.end()
}

export function writeNoticeResponse(writer: ByteWriter, notice: Notice): void {
  writer.begin(BackendType.noticeResponse)
  writeFields(writer, notice.severity, notice.sqlState, notice.message, notice)
  writer.end()
}

function writeFields(
  writer: ByteWriter,
  severity: string,
  sqlState: string,
  message: string,
  fields: Omit<ErrorFields, 'severity'>,
): void {
  writeField(writer, 'S', severity)
  writeField(writer, 'V', severity)
  writeField(writer, 'C', sqlState)
  writeField(writer, 'M', message)
  for (const [code, name] of textFields) {
    const value = fields[name]
    if (value !== undefined) writeField(writer, code, value)
  }
  for (const [code, name] of numberFields) {
    const value = fields[name]
    if (value !== undefined) writeField(writer, code, String(value))
  }
  writer.uint8(0)
}

function writeField(writer: ByteWriter, code: string, value: string): void {
  writer.uint8(code.charCodeAt(0))
  writer.cString(value)
}

/**
 * What the client may see of an error: DatabaseErrors as they are, what a store says, that a node does not answer (08006);
 * everything else as XX000 with an identifier under which the log has the rest.
 */
export function errorForClient(
  error: unknown,
  makeId: () => string,
  log: (id: string, error: unknown) => void,
): DatabaseError {
  if (error instanceof DatabaseError) return error
  if (error instanceof StoreError) return shownStoreError(error)
  if (error instanceof UnreachableError) return shownUnreachable(error)
  const id = makeId()
  log(id, error)
  return new DatabaseError(SqlState.internalError, `internal error (${id})`, { cause: error })
}

/** Codes and values of an ErrorResponse or NoticeResponse body. */
export function parseErrorFields(payload: Uint8Array): Map<string, string> {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const fields = new Map<string, string>()
  let at = 0
  while (at < bytes.length && bytes[at] !== 0) {
    const code = String.fromCharCode(bytes[at] ?? 0)
    const end = bytes.indexOf(0, at + 1)
    if (end < 0) break
    fields.set(code, bytes.toString('utf8', at + 1, end))
    at = end + 1
  }
  return fields
}

/** The body of an ErrorResponse as the error it describes. */
export function parseErrorResponse(payload: Uint8Array): DatabaseError {
  const fields = parseErrorFields(payload)
  const severity = fields.get('V') ?? fields.get('S') ?? 'ERROR'
  return new DatabaseError(fields.get('C') ?? SqlState.internalError, fields.get('M') ?? '', {
    ...(severity === 'FATAL' || severity === 'PANIC' ? { severity } : {}),
    ...optionalFields(fields),
  })
}

/** The body of a NoticeResponse. */
export function parseNoticeResponse(payload: Uint8Array): Notice {
  const fields = parseErrorFields(payload)
  const severity = fields.get('V') ?? fields.get('S') ?? 'NOTICE'
  return {
    severity: isNoticeSeverity(severity) ? severity : 'NOTICE',
    sqlState: fields.get('C') ?? SqlState.successfulCompletion,
    message: fields.get('M') ?? '',
    ...optionalFields(fields),
  }
}

const noticeSeverities: readonly string[] = ['WARNING', 'NOTICE', 'DEBUG', 'INFO', 'LOG']

function isNoticeSeverity(severity: string): severity is Notice['severity'] {
  return noticeSeverities.includes(severity)
}

function optionalFields(fields: ReadonlyMap<string, string>): Omit<ErrorFields, 'severity'> {
  const found: Record<string, string | number> = {}
  for (const [code, name] of textFields) {
    const value = fields.get(code)
    if (value !== undefined) found[name] = value
  }
  for (const [code, name] of numberFields) {
    const value = fields.get(code)
    if (value !== undefined) found[name] = Number(value)
  }
  return found
}

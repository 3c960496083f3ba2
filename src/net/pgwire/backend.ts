import type { ByteWriter } from '#net/pgwire/byte-writer.js'

/** Message types a server sends: protocol.h, PqMsg_*. */
export const BackendType = {
  parseComplete: 0x31, // 1
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  notification: 0x41, // A
  commandComplete: 0x43, // C
  dataRow: 0x44, // D
  errorResponse: 0x45, // E
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  emptyQuery: 0x49, // I
  backendKeyData: 0x4b, // K
  noticeResponse: 0x4e, // N
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  rowDescription: 0x54, // T
  readyForQuery: 0x5a, // Z
  copyDone: 0x63, // c
  copyData: 0x64, // d
  noData: 0x6e, // n
  portalSuspended: 0x73, // s
  parameterDescription: 0x74, // t
  negotiateProtocolVersion: 0x76, // v
} as const

/** Idle, in a transaction block, in a failed transaction block. */
export type TransactionStatus = 'I' | 'T' | 'E'

/** One result column. */
export interface FieldDescription {
  readonly name: string
  /** OID of the table the column comes from, or 0. */
  readonly tableOid: number
  /** pg_attribute.attnum, or 0. */
  readonly attnum: number
  readonly typeOid: number
  /** pg_type.typlen; negative: variable. */
  readonly typeSize: number
  /** pg_attribute.atttypmod; -1: none. */
  readonly typmod: number
  /** 0 text, 1 binary. In the answer to Describe of a statement always 0. */
  readonly format: number
}

/** A value as it goes out: bytes or text in the column's format; null is NULL. */
export type WireValue = Uint8Array | string | null

export function writeAuthenticationOk(writer: ByteWriter): void {
  writeAuthentication(writer, 0)
}

export function writeAuthenticationCleartextPassword(writer: ByteWriter): void {
  writeAuthentication(writer, 3)
}

/** Offers SASL mechanisms, the preferred one first. */
export function writeAuthenticationSasl(writer: ByteWriter, mechanisms: readonly string[]): void {
  writer.begin(BackendType.authentication)
  writer.int32(10)
  for (const mechanism of mechanisms) writer.cString(mechanism)
  writer.uint8(0)
  writer.end()
}

export function writeAuthenticationSaslContinue(writer: ByteWriter, data: string): void {
  writeAuthentication(writer, 11, data)
}

export function writeAuthenticationSaslFinal(writer: ByteWriter, data: string): void {
  writeAuthentication(writer, 12, data)
}

function writeAuthentication(writer: ByteWriter, code: number, data = ''): void {
  writer.begin(BackendType.authentication)
  writer.int32(code)
  writer.text(data)
  writer.end()
}

/** `protocol` is the newest version we speak, as (major << 16) | minor; `options` are the _pq_ ones not known. */
export function writeNegotiateProtocolVersion(
  writer: ByteWriter,
  protocol: number,
  options: readonly string[],
): void {
  writer.begin(BackendType.negotiateProtocolVersion)
  writer.int32(protocol)
  writer.int32(options.length)
  for (const option of options) writer.cString(option)
  writer.end()
}

export function writeParameterStatus(writer: ByteWriter, name: string, value: string): void {
  writer.begin(BackendType.parameterStatus)
  writer.cString(name)
  writer.cString(value)
  writer.end()
}

/** The key is 4 bytes in protocol 3.0, 4 to 256 in 3.2. */
export function writeBackendKeyData(
  writer: ByteWriter,
  processId: number,
  secretKey: Uint8Array,
): void {
  writer.begin(BackendType.backendKeyData)
  writer.int32(processId)
  writer.bytes(secretKey)
  writer.end()
}

export function writeReadyForQuery(writer: ByteWriter, status: TransactionStatus): void {
  writer.begin(BackendType.readyForQuery)
  writer.uint8(status.charCodeAt(0))
  writer.end()
}

export function writeRowDescription(writer: ByteWriter, fields: readonly FieldDescription[]): void {
  writer.begin(BackendType.rowDescription)
  writer.int16(fields.length)
  for (const field of fields) {
    writer.cString(field.name)
    writer.int32(field.tableOid)
    writer.int16(field.attnum)
    writer.int32(field.typeOid)
    writer.int16(field.typeSize)
    writer.int32(field.typmod)
    writer.int16(field.format)
  }
  writer.end()
}

export function writeDataRow(writer: ByteWriter, values: readonly WireValue[]): void {
  writer.begin(BackendType.dataRow)
  writer.int16(values.length)
  for (const value of values) {
    if (value === null) writer.int32(-1)
    else if (typeof value === 'string') writer.textWithLength(value)
    else writer.bytesWithLength(value)
  }
  writer.end()
}

export function writeCommandComplete(writer: ByteWriter, tag: string): void {
  writer.begin(BackendType.commandComplete)
  writer.cString(tag)
  writer.end()
}

export function writeEmptyQueryResponse(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.emptyQuery)
}

export function writeParseComplete(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.parseComplete)
}

export function writeBindComplete(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.bindComplete)
}

export function writeCloseComplete(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.closeComplete)
}

export function writeNoData(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.noData)
}

export function writePortalSuspended(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.portalSuspended)
}

export function writeCopyDone(writer: ByteWriter): void {
  writeEmpty(writer, BackendType.copyDone)
}

export function writeParameterDescription(writer: ByteWriter, typeOids: readonly number[]): void {
  writer.begin(BackendType.parameterDescription)
  writer.int16(typeOids.length)
  for (const typeOid of typeOids) writer.int32(typeOid)
  writer.end()
}

export type CopyFormat = 'text' | 'binary'

/** COPY FROM STDIN begins. `columnCount` columns, all in `format`: PostgreSQL never mixes them. */
export function writeCopyInResponse(
  writer: ByteWriter,
  format: CopyFormat,
  columnCount: number,
): void {
  writeCopyResponse(writer, BackendType.copyInResponse, format, columnCount)
}

/** COPY TO STDOUT begins. */
export function writeCopyOutResponse(
  writer: ByteWriter,
  format: CopyFormat,
  columnCount: number,
): void {
  writeCopyResponse(writer, BackendType.copyOutResponse, format, columnCount)
}

function writeCopyResponse(
  writer: ByteWriter,
  type: number,
  format: CopyFormat,
  columnCount: number,
): void {
  const code = format === 'binary' ? 1 : 0
  writer.begin(type)
  writer.uint8(code)
  writer.int16(columnCount)
  for (let column = 0; column < columnCount; column += 1) writer.int16(code)
  writer.end()
}

export function writeCopyData(writer: ByteWriter, data: Uint8Array): void {
  writer.begin(BackendType.copyData)
  writer.bytes(data)
  writer.end()
}

export function writeNotification(
  writer: ByteWriter,
  processId: number,
  channel: string,
  payload: string,
): void {
  writer.begin(BackendType.notification)
  writer.int32(processId)
  writer.cString(channel)
  writer.cString(payload)
  writer.end()
}

function writeEmpty(writer: ByteWriter, type: number): void {
  writer.begin(type)
  writer.end()
}

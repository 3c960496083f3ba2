import type { ByteWriter } from '#net/pgwire/byte-writer.js'
import { FrontendType } from '#net/pgwire/parse-frontend.js'

/** Messages of a client, for talking to an embedded PostgreSQL in its own protocol. */

export function writeQuery(writer: ByteWriter, sql: string): void {
  writer.begin(FrontendType.query)
  writer.cString(sql)
  writer.end()
}

export function writeParse(
  writer: ByteWriter,
  name: string,
  sql: string,
  parameterTypes: readonly number[] = [],
): void {
  writer.begin(FrontendType.parse)
  writer.cString(name)
  writer.cString(sql)
  writer.int16(parameterTypes.length)
  for (const type of parameterTypes) writer.int32(type)
  writer.end()
}

export interface BindArguments {
  readonly portal?: string
  readonly statement?: string
  /** As in BindMessage. */
  readonly parameterFormats?: readonly number[]
  readonly parameters?: readonly (Uint8Array | string | null)[]
  readonly resultFormats?: readonly number[]
}

export function writeBind(writer: ByteWriter, bind: BindArguments): void {
  writer.begin(FrontendType.bind)
  writer.cString(bind.portal ?? '')
  writer.cString(bind.statement ?? '')
  writeFormats(writer, bind.parameterFormats ?? [])
  const parameters = bind.parameters ?? []
  writer.int16(parameters.length)
  for (const value of parameters) {
    if (value === null) writer.int32(-1)
    else if (typeof value === 'string') writer.textWithLength(value)
    else writer.bytesWithLength(value)
  }
  writeFormats(writer, bind.resultFormats ?? [])
  writer.end()
}

function writeFormats(writer: ByteWriter, formats: readonly number[]): void {
  writer.int16(formats.length)
  for (const format of formats) writer.int16(format)
}

export function writeDescribe(
  writer: ByteWriter,
  target: 'statement' | 'portal',
  name: string,
): void {
  writeTarget(writer, FrontendType.describe, target, name)
}

export function writeClose(writer: ByteWriter, target: 'statement' | 'portal', name: string): void {
  writeTarget(writer, FrontendType.close, target, name)
}

function writeTarget(
  writer: ByteWriter,
  type: number,
  target: 'statement' | 'portal',
  name: string,
): void {
  writer.begin(type)
  writer.uint8(target === 'statement' ? 0x53 : 0x50)
  writer.cString(name)
  writer.end()
}

/** @param rowCountMax 0: no limit */
export function writeExecute(writer: ByteWriter, portal: string, rowCountMax: number): void {
  writer.begin(FrontendType.execute)
  writer.cString(portal)
  writer.int32(rowCountMax)
  writer.end()
}

export function writeSync(writer: ByteWriter): void {
  writer.begin(FrontendType.sync)
  writer.end()
}

export function writeFlush(writer: ByteWriter): void {
  writer.begin(FrontendType.flush)
  writer.end()
}

export function writeTerminate(writer: ByteWriter): void {
  writer.begin(FrontendType.terminate)
  writer.end()
}

export function writeCopyFail(writer: ByteWriter, reason: string): void {
  writer.begin(FrontendType.copyFail)
  writer.cString(reason)
  writer.end()
}

/** Any message of which only type and body are known: passwords, SASL responses, broken ones in tests. */
export function writeMessage(writer: ByteWriter, type: number, body: Uint8Array): void {
  writer.begin(type)
  writer.bytes(body)
  writer.end()
}

/** StartupMessage of protocol 3.`minor`. */
export function writeStartup(
  writer: ByteWriter,
  parameters: Readonly<Record<string, string>>,
  minor = 0,
): void {
  writer.beginUntyped()
  writer.int32(0x0003_0000 | minor)
  for (const [name, value] of Object.entries(parameters)) {
    writer.cString(name)
    writer.cString(value)
  }
  writer.uint8(0)
  writer.end()
}

/** SSLRequest (80877103) or GSSENCRequest (80877104): pqcomm.h. */
export function writeEncryptionRequest(writer: ByteWriter, kind: 'ssl' | 'gssenc'): void {
  writer.beginUntyped()
  writer.int32(kind === 'ssl' ? 80877103 : 80877104)
  writer.end()
}

export function writeCancelRequest(
  writer: ByteWriter,
  processId: number,
  secretKey: Uint8Array,
): void {
  writer.beginUntyped()
  writer.int32(80877102)
  writer.int32(processId)
  writer.bytes(secretKey)
  writer.end()
}

import { DatabaseError, SqlState } from '#base/errors.js'
import type {
  BindMessage,
  CloseMessage,
  DescribeMessage,
  ExecuteMessage,
  FrontendMessage,
  FunctionCallMessage,
  InvalidMessage,
  ParseMessage,
  StartupPhaseMessage,
} from '#net/pgwire/message.js'
import { type PayloadReader, protocolViolation } from '#net/pgwire/payload-reader.js'
import { decodeText } from '#net/pgwire/text.js'

/** Message types a client may send: protocol.h, PqMsg_*. */
export const FrontendType = {
  bind: 0x42, // B
  close: 0x43, // C
  describe: 0x44, // D
  execute: 0x45, // E
  functionCall: 0x46, // F
  flush: 0x48, // H
  parse: 0x50, // P
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
  copyDone: 0x63, // c
  copyData: 0x64, // d
  copyFail: 0x66, // f
  password: 0x70, // p
} as const

/** Codes in place of a protocol version: pqcomm.h. */
const cancelRequestCode = 80877102
const sslRequestCode = 80877103
const gssencRequestCode = 80877104
/** PG_PROTOCOL(3, 2) is the newest we speak; a newer minor is negotiated down (startup.ts). */
export const newestProtocol = 0x0003_0002
const cancelKeyBytesMax = 256

const flushMessage = { kind: 'flush' } as const
const syncMessage = { kind: 'sync' } as const
const terminateMessage = { kind: 'terminate' } as const
const copyDoneMessage = { kind: 'copyDone' } as const

/** The body of a packet without type byte. @throws 08P01, 0A000 for another major version */
export function parseStartupPacket(reader: PayloadReader): StartupPhaseMessage {
  if (reader.remaining < 4) throw protocolViolation('invalid length of startup packet')
  const code = reader.uint32()
  switch (code) {
    case sslRequestCode:
      reader.finish()
      return { kind: 'sslRequest' }
    case gssencRequestCode:
      reader.finish()
      return { kind: 'gssencRequest' }
    case cancelRequestCode: {
      if (reader.remaining < 4) throw protocolViolation('invalid length of cancel request packet')
      const processId = reader.int32()
      const secretKey = reader.rest()
      if (secretKey.length === 0 || secretKey.length > cancelKeyBytesMax) {
        throw protocolViolation('invalid length of cancel key in cancel request packet')
      }
      return { kind: 'cancelRequest', processId, secretKey }
    }
  }
  const major = code >>> 16
  const minor = code & 0xffff
  if (major !== 3) {
    throw new DatabaseError(
      SqlState.featureNotSupported,
      `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.2`,
      { severity: 'FATAL' },
    )
  }
  return { kind: 'startup', minor, parameters: parseStartupParameters(reader) }
}

/** name\0 value\0 … \0 */
function parseStartupParameters(reader: PayloadReader): Map<string, string> {
  const layout = 'invalid startup packet layout: expected terminator as last byte'
  const parameters = new Map<string, string>()
  while (reader.remaining > 0) {
    const name = startupString(reader, layout)
    if (name === '') {
      if (reader.remaining !== 0) throw protocolViolation(layout)
      return parameters
    }
    parameters.set(name, startupString(reader, layout))
  }
  throw protocolViolation(layout)
}

function startupString(reader: PayloadReader, layout: string): string {
  try {
    return reader.cString()
  } catch {
    throw protocolViolation(layout)
  }
}

/**
 * The body of a message with type byte; CopyData never comes here (frame.ts).
 * @throws 08P01 when fields and length do not agree, or the type is unknown
 */
export function parseMessage(type: number, reader: PayloadReader): FrontendMessage {
  switch (type) {
    case FrontendType.query:
      return parseQuery(reader)
    case FrontendType.parse:
      return parseParse(reader)
    case FrontendType.bind:
      return parseBind(reader)
    case FrontendType.describe:
      return parseDescribe(reader)
    case FrontendType.execute:
      return parseExecute(reader)
    case FrontendType.close:
      return parseClose(reader)
    case FrontendType.sync:
      reader.finish()
      return syncMessage
    case FrontendType.flush:
      reader.finish()
      return flushMessage
    case FrontendType.terminate:
      return terminateMessage
    case FrontendType.copyDone:
      reader.finish()
      return copyDoneMessage
    case FrontendType.copyFail: {
      const reason = reader.cString()
      reader.finish()
      return { kind: 'copyFail', reason }
    }
    case FrontendType.functionCall:
      return parseFunctionCall(reader)
    case FrontendType.password:
      return { kind: 'password', payload: reader.rest() }
    default:
      throw protocolViolation(`invalid frontend message type ${type}`)
  }
}

function parseQuery(reader: PayloadReader): FrontendMessage {
  const sql = reader.cStringBytes()
  reader.finish()
  return checked(false, () => ({ kind: 'query', sql: decodeText(sql) }))
}

function parseParse(reader: PayloadReader): ParseMessage | InvalidMessage {
  const name = reader.cStringBytes()
  const sql = reader.cStringBytes()
  const count = reader.uint16()
  const parameterTypes: number[] = []
  for (let index = 0; index < count; index += 1) parameterTypes.push(reader.uint32())
  reader.finish()
  return checked(true, () => ({
    kind: 'parse',
    name: decodeText(name),
    sql: decodeText(sql),
    parameterTypes,
  }))
}

function parseBind(reader: PayloadReader): BindMessage {
  const portal = reader.cString()
  const statement = reader.cString()
  const parameterFormats = formatCodes(reader)
  const count = reader.uint16()
  if (parameterFormats.length > 1 && parameterFormats.length !== count) {
    throw protocolViolation(
      `bind message has ${parameterFormats.length} parameter formats but ${count} parameters`,
    )
  }
  const parameters: (Uint8Array | null)[] = []
  for (let index = 0; index < count; index += 1) {
    const length = reader.int32()
    parameters.push(length === -1 ? null : reader.bytes(length))
  }
  const resultFormats = formatCodes(reader)
  reader.finish()
  return { kind: 'bind', portal, statement, parameterFormats, parameters, resultFormats }
}

const allText: readonly number[] = Object.freeze([])

function formatCodes(reader: PayloadReader): readonly number[] {
  const count = reader.uint16()
  if (count === 0) return allText
  const formats: number[] = []
  for (let index = 0; index < count; index += 1) formats.push(reader.int16())
  return formats
}

function parseDescribe(reader: PayloadReader): DescribeMessage {
  const target = statementOrPortal(reader, 'DESCRIBE')
  const name = reader.cString()
  reader.finish()
  return { kind: 'describe', target, name }
}

function parseClose(reader: PayloadReader): CloseMessage {
  const target = statementOrPortal(reader, 'CLOSE')
  const name = reader.cString()
  reader.finish()
  return { kind: 'close', target, name }
}

function statementOrPortal(reader: PayloadReader, verb: string): 'statement' | 'portal' {
  const code = reader.uint8()
  if (code === 0x53) return 'statement' // S
  if (code === 0x50) return 'portal' // P
  throw protocolViolation(`invalid ${verb} message subtype ${code}`)
}

function parseExecute(reader: PayloadReader): ExecuteMessage {
  const portal = reader.cString()
  const rowCountMax = reader.int32()
  reader.finish()
  return { kind: 'execute', portal, rowCountMax }
}

/** Only the framing is checked: the session refuses every call. */
function parseFunctionCall(reader: PayloadReader): FunctionCallMessage {
  const functionOid = reader.uint32()
  formatCodes(reader)
  const count = reader.uint16()
  for (let index = 0; index < count; index += 1) {
    const length = reader.int32()
    if (length !== -1) reader.bytes(length)
  }
  reader.int16()
  reader.finish()
  return { kind: 'functionCall', functionOid }
}

/** Turns text that is not UTF-8 into a message that carries the error: later messages are still good. */
function checked<Message extends FrontendMessage>(
  extended: boolean,
  decode: () => Message,
): Message | InvalidMessage {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    return { kind: 'invalid', error, extended }
  }
}

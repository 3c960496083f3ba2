import { InvariantError } from '#base/errors.js'
import { BackendType, type FieldDescription, type TransactionStatus } from '#net/pgwire/backend.js'
import { PayloadReader } from '#net/pgwire/payload-reader.js'

/**
 * Walks over the messages a PostgreSQL instance has answered, without allocating per message.
 *
 *   const messages = new BackendMessages(bytes)
 *   while (messages.next()) if (messages.type === BackendType.dataRow) out.raw(messages.message())
 *
 * The bytes come from our own embedded instance: what is malformed is an InvariantError, not 08P01.
 */
export class BackendMessages {
  readonly #bytes: Buffer
  /** Type byte of the current message (BackendType). */
  type = 0
  /** The current message is bytes[start, end), its body bytes[start + 5, end). */
  start = 0
  end = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes)
  }

  /** Steps to the next message. @returns false at the end */
  next(): boolean {
    const start = this.end
    if (start === this.#bytes.length) return false
    if (this.#bytes.length - start < 5) throw truncated(start)
    const end = start + 1 + this.#bytes.readInt32BE(start + 1)
    if (end < start + 5 || end > this.#bytes.length) throw truncated(start)
    this.type = this.#bytes[start] ?? 0
    this.start = start
    this.end = end
    return true
  }

  /** A view of the body. */
  payload(): Uint8Array {
    return this.#bytes.subarray(this.start + 5, this.end)
  }

  /** A view of the message with its header. */
  message(): Uint8Array {
    return this.#bytes.subarray(this.start, this.end)
  }
}

function truncated(offset: number): InvariantError {
  return new InvariantError('backend-messages', `truncated message at offset ${offset}`)
}

/** Body of a RowDescription. */
export function parseRowDescription(payload: Uint8Array): FieldDescription[] {
  const reader = readerOf(payload)
  const fields: FieldDescription[] = []
  const count = reader.uint16()
  for (let index = 0; index < count; index += 1) {
    fields.push({
      name: reader.cString(),
      tableOid: reader.uint32(),
      attnum: reader.int16(),
      typeOid: reader.uint32(),
      typeSize: reader.int16(),
      typmod: reader.int32(),
      format: reader.int16(),
    })
  }
  return fields
}

/** Body of a ParameterDescription: type OIDs. */
export function parseParameterDescription(payload: Uint8Array): number[] {
  const reader = readerOf(payload)
  const typeOids: number[] = []
  const count = reader.uint16()
  for (let index = 0; index < count; index += 1) typeOids.push(reader.uint32())
  return typeOids
}

/** Body of a DataRow: views of the values. */
export function parseDataRow(payload: Uint8Array): (Uint8Array | null)[] {
  const bytes = asBuffer(payload)
  const count = bytes.readUInt16BE(0)
  const values: (Uint8Array | null)[] = new Array(count)
  let at = 2
  for (let index = 0; index < count; index += 1) {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0) {
      values[index] = null
      continue
    }
    values[index] = bytes.subarray(at, at + length)
    at += length
  }
  return values
}

/** Body of a CommandComplete: the tag, as `INSERT 0 5`. */
export function parseCommandComplete(payload: Uint8Array): string {
  return readerOf(payload).cString()
}

/** Body of a ParameterStatus. */
export function parseParameterStatus(payload: Uint8Array): { name: string; value: string } {
  const reader = readerOf(payload)
  return { name: reader.cString(), value: reader.cString() }
}

/** Body of a ReadyForQuery. */
export function parseReadyForQuery(payload: Uint8Array): TransactionStatus {
  switch (payload[0]) {
    case 0x49:
      return 'I'
    case 0x54:
      return 'T'
    case 0x45:
      return 'E'
    default:
      throw new InvariantError('backend-messages', `transaction status ${payload[0]}`)
  }
}

/** Everything one statement sequence of an embedded instance answered, taken apart. */
export interface CollectedAnswer {
  /** Per result: its columns (none for commands without one), its rows as views, its tag. */
  readonly results: readonly {
    readonly fields: readonly FieldDescription[]
    readonly rows: readonly (readonly (Uint8Array | null)[])[]
    readonly tag: string
  }[]
  readonly parameterTypes: readonly number[] | undefined
  /** Bodies of the first ErrorResponse and of the notices. */
  readonly error: Uint8Array | undefined
  readonly notices: readonly Uint8Array[]
  /** undefined: the answer ended without ReadyForQuery, the instance is not to be trusted any more. */
  readonly status: TransactionStatus | undefined
}

/** For small answers (catalog queries); large ones are walked with BackendMessages. */
export function collectAnswer(bytes: Uint8Array): CollectedAnswer {
  const results: { fields: FieldDescription[]; rows: (Uint8Array | null)[][]; tag: string }[] = []
  const notices: Uint8Array[] = []
  let current = { fields: [] as FieldDescription[], rows: [] as (Uint8Array | null)[][], tag: '' }
  let parameterTypes: number[] | undefined
  let error: Uint8Array | undefined
  let status: TransactionStatus | undefined
  const finish = (tag: string): void => {
    results.push({ ...current, tag })
    current = { fields: [], rows: [], tag: '' }
  }
  const messages = new BackendMessages(bytes)
  while (messages.next()) {
    switch (messages.type) {
      case BackendType.rowDescription:
        current.fields = parseRowDescription(messages.payload())
        break
      case BackendType.dataRow:
        current.rows.push(parseDataRow(messages.payload()))
        break
      case BackendType.commandComplete:
        finish(parseCommandComplete(messages.payload()))
        break
      case BackendType.emptyQuery:
      case BackendType.portalSuspended:
        finish('')
        break
      case BackendType.parameterDescription:
        parameterTypes = parseParameterDescription(messages.payload())
        break
      case BackendType.errorResponse:
        error ??= messages.payload()
        break
      case BackendType.noticeResponse:
        notices.push(messages.payload())
        break
      case BackendType.readyForQuery:
        status = parseReadyForQuery(messages.payload())
        break
      default: // ParseComplete and the like say nothing more
    }
  }
  if (current.fields.length > 0) finish('') // Describe without Execute
  return { results, parameterTypes, error, notices, status }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function readerOf(payload: Uint8Array): PayloadReader {
  const reader = new PayloadReader()
  reader.reset(asBuffer(payload), 0, payload.length)
  return reader
}

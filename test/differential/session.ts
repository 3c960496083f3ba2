import { parseDataRow, parseRowDescription } from '#net/pgwire/backend-parse.js'
import { parseErrorResponse } from '#net/pgwire/error-response.js'
import * as encode from '#net/pgwire/frontend-encode.js'
import { RawClient, type Received } from '../protocol/raw-client.js'

/** A value for $n: its text, or its bytes in binary send format. */
export interface Parameter {
  readonly typeOid: number
  readonly value: string | Uint8Array | null
}

export interface Answer {
  /** name:type OID of each column (types of extensions have other OIDs everywhere); undefined when the statement returns no rows or failed. */
  readonly fields: readonly string[] | undefined
  /** Text values as they came, binary ones as hexadecimal digits. */
  readonly rows: readonly (readonly (string | null)[])[]
  readonly tag: string
  readonly error: { readonly sqlState: string; readonly message: string } | undefined
}

/** A connection that sees every byte of an answer: both formats, types of parameters as told. */
export class Session {
  readonly #client: RawClient

  private constructor(client: RawClient) {
    this.#client = client
  }

  static async open(port: number, user = 'postgres'): Promise<Session> {
    return new Session(await RawClient.started(port, user))
  }

  /** Simple protocol. @throws Error when it fails */
  async run(sql: string): Promise<Answer> {
    this.#client.send((writer) => encode.writeQuery(writer, sql))
    const answer = toAnswer(await this.#client.until('Z'), 0)
    if (answer.error !== undefined) {
      throw new Error(`${answer.error.sqlState} ${answer.error.message}: ${sql.slice(0, 500)}`)
    }
    return answer
  }

  /** Extended protocol. */
  async ask(sql: string, parameters: readonly Parameter[], resultFormat: 0 | 1): Promise<Answer> {
    this.#client.send((writer) => {
      encode.writeParse(
        writer,
        '',
        sql,
        parameters.map(({ typeOid }) => typeOid),
      )
      encode.writeBind(writer, {
        parameters: parameters.map(({ value }) => value),
        parameterFormats: parameters.map(({ value }) => (value instanceof Uint8Array ? 1 : 0)),
        resultFormats: [resultFormat],
      })
      encode.writeDescribe(writer, 'portal', '')
      encode.writeExecute(writer, '', 0)
      encode.writeSync(writer)
    })
    return toAnswer(await this.#client.until('Z'), resultFormat)
  }

  close(): void {
    this.#client.send(encode.writeTerminate)
    this.#client.socket.end()
  }
}

function toAnswer(messages: readonly Received[], format: 0 | 1): Answer {
  let fields: readonly string[] | undefined
  let error: Answer['error']
  let tag = ''
  const rows: (string | null)[][] = []
  const encoding = format === 1 ? 'hex' : 'utf8'
  for (const { type, body } of messages) {
    if (type === 'T') {
      fields = parseRowDescription(body).map(
        ({ name, typeOid }) => `${name}:${typeOid < 16384 ? typeOid : 'not built in'}`,
      )
    } else if (type === 'D') {
      rows.push(
        parseDataRow(body).map((value) =>
          value === null ? null : Buffer.from(value).toString(encoding),
        ),
      )
    } else if (type === 'C') {
      tag = body.subarray(0, -1).toString()
    } else if (type === 'E') {
      const { sqlState, message } = parseErrorResponse(body)
      error ??= { sqlState, message }
    }
  }
  return { fields, rows, tag, error }
}

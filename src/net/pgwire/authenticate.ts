import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import {
  writeAuthenticationCleartextPassword,
  writeAuthenticationSasl,
  writeAuthenticationSaslContinue,
  writeAuthenticationSaslFinal,
} from '#net/pgwire/backend.js'
import type { Inbox } from '#net/pgwire/inbox.js'
import type { Outbox } from '#net/pgwire/outbox.js'
import { FrontendType } from '#net/pgwire/parse-frontend.js'
import { PayloadReader, protocolViolation } from '#net/pgwire/payload-reader.js'
import {
  checkPassword,
  mockVerifier,
  parseVerifier,
  ScramExchange,
  type ScramVerifier,
  scramMechanism,
} from '#net/pgwire/scram.js'
import type { RemoteAddress } from '#net/pgwire/session.js'

/**
 * How a client must prove who it is. `verifier` is the stored text (`SCRAM-SHA-256$…`), or undefined
 * for a user that does not exist or has no password: then the exchange is played to its end and fails
 * as with a wrong password. 'password' asks for the clear password and checks it against the verifier.
 */
export type Authentication =
  | { readonly method: 'trust' }
  | { readonly method: 'scram' | 'password'; readonly verifier: string | undefined }
  | { readonly method: 'reject'; readonly error: DatabaseError }

export type Authenticate = (
  user: string,
  database: string,
  remote: RemoteAddress,
) => Authentication | Promise<Authentication>

export interface AuthenticationHost {
  readonly runtime: Runtime
  readonly authenticate: Authenticate
  /** For mockVerifier(). */
  readonly mockSecret: Uint8Array
}

interface Claim {
  readonly user: string
  readonly database: string
  readonly remote: RemoteAddress
}

/** Returns when the client has proved its claim; AuthenticationOk is the caller's. @throws 28P01, 08P01, the rejection */
export async function authenticateClient(
  claim: Claim,
  inbox: Inbox,
  outbox: Outbox,
  host: AuthenticationHost,
): Promise<void> {
  const { user, database, remote } = claim
  const wanted = await host.authenticate(user, database, remote)
  if (wanted.method === 'trust') return
  if (wanted.method === 'reject') throw wanted.error
  const known = wanted.verifier === undefined ? undefined : parseVerifier(wanted.verifier)
  const verifier = known ?? mockVerifier(user, host.mockSecret)
  const proved =
    wanted.method === 'scram'
      ? await exchangeScram(verifier, inbox, outbox, host)
      : await askPassword(verifier, inbox, outbox)
  if (!proved) {
    throw new DatabaseError(
      SqlState.invalidPassword,
      `password authentication failed for user "${user}"`,
      { severity: 'FATAL' },
    )
  }
}

async function exchangeScram(
  verifier: ScramVerifier,
  inbox: Inbox,
  outbox: Outbox,
  host: AuthenticationHost,
): Promise<boolean> {
  const exchange = new ScramExchange(verifier, (count) => host.runtime.randomBytes(count))
  writeAuthenticationSasl(outbox.writer, [scramMechanism])
  let clientFirst = parseInitialResponse(await response(inbox, outbox, 'SASL'))
  if (clientFirst === undefined) {
    writeAuthenticationSaslContinue(outbox.writer, '')
    clientFirst = text(await response(inbox, outbox, 'SASL'))
  }
  writeAuthenticationSaslContinue(outbox.writer, exchange.first(clientFirst))
  const serverFinal = exchange.final(text(await response(inbox, outbox, 'SASL')))
  if (serverFinal === undefined) return false
  writeAuthenticationSaslFinal(outbox.writer, serverFinal)
  return true
}

async function askPassword(
  verifier: ScramVerifier,
  inbox: Inbox,
  outbox: Outbox,
): Promise<boolean> {
  writeAuthenticationCleartextPassword(outbox.writer)
  const reader = readerOf(await response(inbox, outbox, 'password'))
  const password = reader.cString()
  reader.finish()
  if (password === '') {
    throw new DatabaseError(SqlState.invalidPassword, 'empty password returned by client', {
      severity: 'FATAL',
    })
  }
  return checkPassword(password, verifier)
}

/** SASLInitialResponse: mechanism, then the first message with its length, or -1 for none. */
function parseInitialResponse(payload: Uint8Array): string | undefined {
  const reader = readerOf(payload)
  const mechanism = reader.cString()
  if (mechanism !== scramMechanism) {
    throw protocolViolation('client selected an invalid SASL authentication mechanism')
  }
  const length = reader.int32()
  const data = length === -1 ? undefined : text(reader.bytes(length))
  reader.finish()
  return data
}

async function response(
  inbox: Inbox,
  outbox: Outbox,
  expected: 'SASL' | 'password',
): Promise<Uint8Array> {
  outbox.flush()
  const message = await inbox.next()
  if (message?.kind === 'password') return message.payload
  if (message?.kind === 'violation') throw message.error
  if (message === undefined || message.kind === 'terminate') {
    throw new DatabaseError(SqlState.connectionFailure, 'unexpected EOF on client connection', {
      severity: 'FATAL',
    })
  }
  const types: Readonly<Record<string, number>> = FrontendType
  throw protocolViolation(
    `expected ${expected} response, got message type ${types[message.kind] ?? 0}`,
  )
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

function readerOf(payload: Uint8Array): PayloadReader {
  const reader = new PayloadReader()
  reader.reset(
    Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
    0,
    payload.length,
  )
  return reader
}

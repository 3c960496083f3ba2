import { DatabaseError, SqlState } from '#base/errors.js'
import { type AuthenticationHost, authenticateClient } from '#net/pgwire/authenticate.js'
import { writeAuthenticationOk, writeNegotiateProtocolVersion } from '#net/pgwire/backend.js'
import type { Inbox } from '#net/pgwire/inbox.js'
import type { CancelRequestMessage, StartupMessage } from '#net/pgwire/message.js'
import type { Outbox } from '#net/pgwire/outbox.js'
import { newestProtocol } from '#net/pgwire/parse-frontend.js'
import { protocolViolation } from '#net/pgwire/payload-reader.js'
import type { RemoteAddress } from '#net/pgwire/session.js'

const encryptionRefused = new Uint8Array([0x4e]) // 'N'
const newestMinor = newestProtocol & 0xffff

export interface StartupHost extends AuthenticationHost {
  /** Why no session can be opened now (57P03, 53300), or undefined. */
  refusal(): DatabaseError | undefined
  cancel(request: CancelRequestMessage): void
}

/** A client that has said who it is and proved it. */
export interface StartedClient {
  readonly user: string
  readonly database: string
  readonly parameters: ReadonlyMap<string, string>
  /** The minor version both speak: decides the length of the cancel key. */
  readonly minor: number
}

/**
 * The startup phase up to AuthenticationOk:
 * 1. SSLRequest and GSSENCRequest are refused with 'N', as often as asked; a CancelRequest ends it;
 * 2. an unknown minor version or `_pq_.` option is negotiated down, not refused;
 * 3. the server may be full or stopping;
 * 4. authentication.
 * @returns undefined when there is nobody to serve. @throws DatabaseError, all FATAL
 */
export async function startUp(
  inbox: Inbox,
  outbox: Outbox,
  remote: RemoteAddress,
  host: StartupHost,
): Promise<StartedClient | undefined> {
  const startup = await readStartupMessage(inbox, outbox, host)
  if (startup === undefined) return undefined
  const unknownOptions = [...startup.parameters.keys()].filter((name) => name.startsWith('_pq_.'))
  if (startup.minor > newestMinor || unknownOptions.length > 0) {
    const minor = Math.min(startup.minor, newestMinor)
    writeNegotiateProtocolVersion(outbox.writer, 0x0003_0000 | minor, unknownOptions)
  }
  const refusal = host.refusal()
  if (refusal !== undefined) throw refusal
  const parameters = new Map(startup.parameters)
  for (const name of unknownOptions) parameters.delete(name)
  const user = parameters.get('user') ?? ''
  if (user === '') {
    throw new DatabaseError(
      SqlState.invalidAuthorizationSpecification,
      'no PostgreSQL user name specified in startup packet',
      { severity: 'FATAL' },
    )
  }
  const named = parameters.get('database') ?? ''
  const database = named === '' ? user : named
  await authenticateClient({ user, database, remote }, inbox, outbox, host)
  writeAuthenticationOk(outbox.writer)
  return { user, database, parameters, minor: Math.min(startup.minor, newestMinor) }
}

async function readStartupMessage(
  inbox: Inbox,
  outbox: Outbox,
  host: StartupHost,
): Promise<StartupMessage | undefined> {
  for (;;) {
    const message = await inbox.next()
    switch (message?.kind) {
      case undefined:
        return undefined
      case 'sslRequest':
      case 'gssencRequest':
        outbox.raw(encryptionRefused)
        outbox.flush()
        break
      case 'cancelRequest':
        host.cancel(message)
        return undefined
      case 'startup':
        return message
      case 'violation':
        throw message.error
      default:
        throw protocolViolation('invalid startup packet layout')
    }
  }
}

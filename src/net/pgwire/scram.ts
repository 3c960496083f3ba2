// Hashes only: all randomness is passed in, so that a simulation can replay an authentication.
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { DatabaseError, SqlState } from '#base/errors.js'
import { protocolViolation } from '#net/pgwire/payload-reader.js'
import { saslPrepare } from '#net/pgwire/saslprep.js'

/**
 * SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677; PostgreSQL's auth-scram.c). No channel
 * binding: there is no TLS to bind to.
 *
 *   client  n,,n=user,r=<client nonce>
 *   server  r=<client nonce><server nonce>,s=<salt>,i=<iterations>
 *   client  c=biws,r=<both nonces>,p=<proof>
 *   server  v=<server signature>
 */
export const scramMechanism = 'SCRAM-SHA-256'

/** PostgreSQL's scram_iterations and the lengths of its salt and nonce. */
const defaultIterations = 4096
export const saltBytes = 16
const nonceBytes = 18
const keyBytes = 32

const derive = promisify(pbkdf2)

/** What is stored of a password: enough to check it, not enough to log in. */
export interface ScramVerifier {
  readonly iterations: number
  readonly salt: Uint8Array
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

/** As kept in pg_authid.rolpassword: `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`, base64. */
export function formatVerifier(verifier: ScramVerifier): string {
  const { iterations, salt, storedKey, serverKey } = verifier
  return `${scramMechanism}$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(serverKey)}`
}

/** undefined when the text is not a verifier (a clear password, an md5 hash). */
export function parseVerifier(text: string): ScramVerifier | undefined {
  const match =
    /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/.exec(text)
  if (match === null) return undefined
  const [iterations, salt, storedKey, serverKey] = match.slice(1)
  const verifier = {
    iterations: Number(iterations),
    salt: Buffer.from(salt ?? '', 'base64'),
    storedKey: Buffer.from(storedKey ?? '', 'base64'),
    serverKey: Buffer.from(serverKey ?? '', 'base64'),
  }
  const sound =
    verifier.iterations > 0 &&
    verifier.salt.length > 0 &&
    verifier.storedKey.length === keyBytes &&
    verifier.serverKey.length === keyBytes
  return sound ? verifier : undefined
}

/** The verifier of a clear password; takes a few milliseconds on another thread. @param salt 16 random bytes */
export async function makeVerifier(
  password: string,
  salt: Uint8Array,
  iterations = defaultIterations,
): Promise<ScramVerifier> {
  const salted = await derive(saslPrepare(password), salt, iterations, keyBytes, 'sha256')
  return {
    iterations,
    salt,
    storedKey: sha256(hmac(salted, 'Client Key')),
    serverKey: hmac(salted, 'Server Key'),
  }
}

/** Whether a clear password belongs to the verifier. */
export async function checkPassword(password: string, verifier: ScramVerifier): Promise<boolean> {
  const made = await makeVerifier(password, verifier.salt, verifier.iterations)
  return timingSafeEqual(made.storedKey, verifier.storedKey)
}

/**
 * A verifier that no password fits, the same at every attempt for one user name: so an unknown user
 * looks like a wrong password. `secret` stays the same for the life of the server (PostgreSQL: of the cluster).
 */
export function mockVerifier(user: string, secret: Uint8Array): ScramVerifier {
  const salt = createHash('sha256').update(user).update(secret).digest().subarray(0, saltBytes)
  return {
    iterations: defaultIterations,
    salt,
    storedKey: hmac(secret, `stored key of ${user}`),
    serverKey: hmac(secret, `server key of ${user}`),
  }
}

/** One authentication. first(), then final(); each throws 08P01 on what is not SCRAM. */
export class ScramExchange {
  readonly #verifier: ScramVerifier
  readonly #serverNonce: string
  #gs2Header = ''
  #clientFirstBare = ''
  #serverFirst = ''
  #nonce = ''

  constructor(verifier: ScramVerifier, randomBytes: (count: number) => Uint8Array) {
    this.#verifier = verifier
    this.#serverNonce = base64(randomBytes(nonceBytes))
  }

  /** @returns the server-first-message */
  first(clientFirst: string): string {
    const header = /^([^,]*),([^,]*),/.exec(clientFirst)
    if (header === null) throw malformed('client-first-message')
    const [gs2Header, binding, authorization] = header
    if (binding?.startsWith('p=')) {
      throw protocolViolation(
        'malformed SCRAM message',
        'The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.',
      )
    }
    if (binding !== 'n' && binding !== 'y') throw malformed('channel-binding flag')
    if (authorization !== '') {
      throw unsupported('client uses authorization identity, but it is not supported')
    }
    this.#gs2Header = gs2Header
    this.#clientFirstBare = clientFirst.slice(gs2Header.length)
    const fields = this.#clientFirstBare.split(',')
    if (fields[0]?.startsWith('m=')) {
      throw unsupported('client requires an unsupported SCRAM extension')
    }
    // The user name is not used: PostgreSQL takes the one of the startup packet.
    const clientNonce = fields[1]
    if (!fields[0]?.startsWith('n=') || !clientNonce?.startsWith('r=')) {
      throw malformed('client-first-message')
    }
    if (!/^r=[\x21-\x2b\x2d-\x7e]+$/.test(clientNonce)) {
      throw protocolViolation('non-printable characters in SCRAM nonce')
    }
    this.#nonce = `${clientNonce.slice(2)}${this.#serverNonce}`
    const { salt, iterations } = this.#verifier
    this.#serverFirst = `r=${this.#nonce},s=${base64(salt)},i=${iterations}`
    return this.#serverFirst
  }

  /** @returns the server-final-message, or undefined when the proof is wrong */
  final(clientFinal: string): string | undefined {
    const proofAt = clientFinal.lastIndexOf(',p=')
    if (proofAt < 0) throw malformed('client-final-message')
    const withoutProof = clientFinal.slice(0, proofAt)
    const [binding, nonce] = withoutProof.split(',')
    if (binding !== `c=${base64(Buffer.from(this.#gs2Header))}`) {
      throw protocolViolation('unexpected SCRAM channel-binding attribute in client-final-message')
    }
    if (nonce !== `r=${this.#nonce}`) {
      throw protocolViolation('invalid SCRAM response', 'Nonce does not match.')
    }
    const proof = Buffer.from(clientFinal.slice(proofAt + 3), 'base64')
    if (proof.length !== keyBytes) throw malformed('proof')
    const message = `${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`
    const signature = hmac(this.#verifier.storedKey, message)
    const clientKey = proof.map((byte, index) => byte ^ (signature[index] ?? 0))
    if (!timingSafeEqual(sha256(clientKey), this.#verifier.storedKey)) return undefined
    return `v=${base64(hmac(this.#verifier.serverKey, message))}`
  }
}

function malformed(what: string): DatabaseError {
  return protocolViolation('malformed SCRAM message', `The ${what} is not as RFC 5802 has it.`)
}

function unsupported(message: string): DatabaseError {
  return new DatabaseError(SqlState.featureNotSupported, message, { severity: 'FATAL' })
}

function hmac(key: Uint8Array, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function sha256(data: Uint8Array): Buffer {
  return createHash('sha256').update(data).digest()
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

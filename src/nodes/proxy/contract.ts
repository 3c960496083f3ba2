/** The proxy: turns connections into sessions, statements into plans, plans into fragments, parts into rows. */
import type { OpenSession } from '#net/pgwire/session.js'

export interface ProxyNode {
  readonly openSession: OpenSession
  /** SCRAM verifier of a role: undefined when the role has no password or does not exist. */
  passwordVerifier(user: string): Promise<string | undefined>
  /** Takes over DDL of other proxies. */
  refreshCatalog(): Promise<void>
  stop(): Promise<void>
}

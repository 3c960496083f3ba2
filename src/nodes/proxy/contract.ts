/** The proxy: turns connections into sessions, statements into plans, plans into fragments, parts into rows. */
import type { Context } from '#base/context.js'
import type { OpenSession } from '#net/pgwire/session.js'

export interface DdlTurn {
  /** false: it may be another's. */
  isHeld(): boolean
  end(): Promise<void>
}

/** What a proxy has to do with others of the same database. */
export interface OtherProxies {
  /** Resolves when it is this proxy's turn to change the catalog. */
  takeDdlTurn(context: Context): Promise<DdlTurn>
  /** Resolves when no other proxy answers with an older catalog any more. */
  tellCatalog(version: number, context: Context): Promise<void>
  /** false: others may have changed the catalog without telling us. */
  isCatalogCurrent(): boolean
  refreshCatalog(): Promise<void>
  /** To those that LISTEN there. */
  notify(processId: number, channel: string, payload: string): void
  /** Theirs; of those that answer. */
  sessions(): Promise<readonly SessionFact[]>
  /** To whichever has it. */
  signal(processId: number, signal: 'cancel' | 'terminate'): void
}

/** For pg_stat_activity. */
export interface SessionFact {
  readonly processId: number
  readonly user: string
  readonly applicationName: string
  readonly remoteHost: string
  readonly remotePort: number
  readonly startedMs: number
  /** Of an open block. */
  readonly transactionStartMs: number | undefined
  /** Of the last statement; 0: none yet. */
  readonly queryStartMs: number
  readonly state: 'active' | 'idle' | 'idle in transaction'
  readonly sql: string
}

export interface ProxyNode {
  readonly openSession: OpenSession
  /** SCRAM verifier of a role: undefined when the role has no password or does not exist. */
  passwordVerifier(user: string): Promise<string | undefined>
  /** Takes over DDL of other proxies: unless the catalog has this version already. */
  refreshCatalog(version?: number): Promise<void>
  /** To those that LISTEN here; NOTIFY came through another proxy. */
  notify(processId: number, channel: string, payload: string): void
  sessions(): readonly SessionFact[]
  /** pg_cancel_backend, pg_terminate_backend. @returns false: it is not here */
  signal(processId: number, signal: 'cancel' | 'terminate'): boolean
  /** Sessions that have lost their own advisory locks: their clients must know. */
  endSessions(sessions: readonly number[]): void
  stop(): Promise<void>
}

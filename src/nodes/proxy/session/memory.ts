import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Portal, PreparedStatement } from '#nodes/proxy/session/prepared.js'
import type { SessionLocks } from '#nodes/proxy/session/session-locks.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import type { SequenceState } from '#postgres/contract.js'

/** What a session remembers between statements besides settings and transaction. */
export interface SessionMemory {
  /** nextval results for currval and lastval; the last entry is lastval's. */
  sessionSequences: readonly SequenceState[]
  readonly processId: number
  readonly user: string
  readonly database: string
  /** Settings as the connection began: what RESET goes back to. */
  readonly initialSettings: ReadonlyMap<string, string>
  /** Prepared statements of Parse and of PREPARE share one name space, as in PostgreSQL. */
  readonly statements: Map<string, PreparedStatement>
  /** Portals of Bind and cursors of DECLARE likewise. */
  readonly portals: Map<string, Portal>
  /** The newest timestamp at which it has written or read: what consistency level session must see. */
  lastSeen: Timestamp
  /** It was told that SERIALIZABLE gives snapshot isolation. */
  knowsSerializable: boolean
  readonly listening: Set<string>
  readonly locks: SessionLocks
  /** Of the other proxies, for the statement that names one. */
  otherProcesses: readonly number[]
  readonly control: TransactionControl
  reportIfWatched(name: string, value: string): void
}

/** The session's hold on its transaction. */
export interface TransactionControl {
  current(): Transaction
  /** Turns the implicit transaction into a block. */
  begin(): Promise<void>
  /** @throws what commitTransaction throws; the transaction is over in any case */
  commit(context: Context): Promise<void>
  rollback(): Promise<void>
}

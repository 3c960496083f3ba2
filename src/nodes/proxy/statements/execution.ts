import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ResponseWriter } from '#net/pgwire/session.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import type { SessionMemory } from '#nodes/proxy/session/memory.js'
import type { Settings } from '#nodes/proxy/session/settings.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import { checkRetained, newReadTimestamp } from '#nodes/proxy/statements/read-time.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { BoundStatement, CatalogSnapshot } from '#postgres/contract.js'

export interface StatementSnapshot {
  at: Timestamp | undefined
}

/** One statement being executed: everything its verb needs, passed down instead of looked up. */
export interface Execution {
  readonly environment: ProxyEnvironment
  readonly parsed: ParsedStatement
  readonly bound: BoundStatement
  readonly settings: Settings
  readonly transaction: Transaction
  readonly memory: SessionMemory
  /** CAT-1: one catalog version until the last row. */
  readonly catalog: CatalogSnapshot
  readonly context: Context
  /** What the statement sees: chosen by its first read. */
  readonly snapshot: StatementSnapshot
  /** Only for COPY, which talks to the client in the middle of a statement, and for notices. */
  readonly out: ResponseWriter
}

/** READ COMMITTED: one timestamp for all reads of the statement; REPEATABLE READ and up: one for the transaction. */
export async function chooseReadTimestamp(execution: Execution): Promise<Timestamp> {
  const { transaction, snapshot } = execution
  if (transaction.snapshotAt !== undefined) {
    checkRetained(transaction.snapshotAt, execution)
    return transaction.snapshotAt
  }
  if (snapshot.at !== undefined) return snapshot.at
  const chosen = await newReadTimestamp(execution)
  if (keepsSnapshot(transaction)) transaction.snapshotAt ??= chosen
  snapshot.at ??= transaction.snapshotAt ?? chosen
  return snapshot.at
}

/** For statements that change or lock rows: whatever the consistency level, they must find the rows as they are. */
export async function chooseWriteTimestamp(execution: Execution): Promise<Timestamp> {
  const { transaction, environment, snapshot } = execution
  if (transaction.snapshotAt !== undefined) return transaction.snapshotAt
  snapshot.at = await environment.streaming.strongTimestamp()
  if (keepsSnapshot(transaction)) transaction.snapshotAt = snapshot.at
  return snapshot.at
}

/** READ COMMITTED: a statement that met a row changed meanwhile looks again, and sees what is there now. */
export function renewSnapshot({ snapshot }: Execution): void {
  snapshot.at = undefined
}

export function keepsSnapshot({ isolation }: Transaction): boolean {
  return isolation === 'repeatable read' || isolation === 'serializable'
}

import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ResponseWriter } from '#net/pgwire/session.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import type { SessionMemory } from '#nodes/proxy/session/memory.js'
import type { Settings } from '#nodes/proxy/session/settings.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { BoundStatement, CatalogSnapshot } from '#postgres/contract.js'

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
  /** Only for COPY, which talks to the client in the middle of a statement, and for notices. */
  readonly out: ResponseWriter
}

/** READ COMMITTED reads at the newest readable timestamp, REPEATABLE READ and up at the transaction's first. */
export function chooseReadTimestamp(execution: Execution): Timestamp {
  const { transaction, environment } = execution
  const newest = environment.streaming.serviceTime()
  if (transaction.isolation === 'read committed' || transaction.isolation === 'read uncommitted')
    return newest
  transaction.snapshotAt ??= newest
  return transaction.snapshotAt
}

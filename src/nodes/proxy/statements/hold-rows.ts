/** Row locks of a statement: held until the transaction ends, and only rows that are still what was read. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { aggregateShards } from '#nodes/proxy/distribute/fan-out.js'
import { withLockTimeout } from '#nodes/proxy/session/lock-timeout.js'
import type { LockMode } from '#nodes/proxy/session/row-locks.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import { type Execution, keepsSnapshot } from '#nodes/proxy/statements/execution.js'
import { keyNames } from '#nodes/proxy/statements/own-keys.js'
import { allShards } from '#nodes/proxy/statements/read-rows.js'
import type { TableInfo } from '#postgres/contract.js'

/** 'refuse': NOWAIT. 'skip': SKIP LOCKED, the rows were free when they were chosen. */
export type LockPolicy = 'wait' | 'refuse' | 'skip'

/**
 * @param rowIds stored rows, ascending
 * @returns false when the statement must look again: it waited for another transaction, or a row has changed
 * @throws 40001 under REPEATABLE READ instead; 55P03; 40P01
 */
export async function holdRows(
  execution: Execution,
  table: TableInfo,
  rowIds: Float64Array,
  readAt: Timestamp,
  policy: LockPolicy,
  mode: LockMode = 'exclusive',
): Promise<boolean> {
  const { environment, transaction, settings, context } = execution
  const { rowLocks, streaming, runtime } = environment
  const isTaken = (rowId: number) => !rowLocks.isFree(transaction, table.oid, rowId, mode)
  if (policy !== 'wait' && rowIds.some(isTaken)) {
    if (policy === 'skip') return false
    throw new DatabaseError(
      SqlState.lockNotAvailable,
      `could not obtain lock on row in relation "${table.name}"`,
    )
  }
  let current = await withLockTimeout(settings, runtime, context, (limited) =>
    rowLocks.acquire(transaction, table.oid, rowIds, mode, limited),
  )
  if (current && (await streaming.strongTimestamp()) !== readAt) {
    current = (await countLive(execution, table, rowIds)) === rowIds.length
  }
  if (current) return true
  if (keepsSnapshot(transaction)) {
    throw new DatabaseError(
      SqlState.serializationFailure,
      'could not serialize access due to concurrent update',
    )
  }
  return false
}

/**
 * Unique keys that an upsert is about to add: whoever else wants to add one waits, and then finds the row.
 * @returns false after waiting: the statement must look again
 */
export async function holdKeys(
  execution: Execution,
  changes: readonly CapturedChange[],
): Promise<boolean> {
  const { environment, transaction, settings, context } = execution
  for (const { table, inserted } of changes) {
    const names = [...new Set(keyNames(table, inserted))].sort()
    const held = await withLockTimeout(settings, environment.runtime, context, (limited) =>
      environment.rowLocks.acquire(transaction, table.oid, names, 'exclusive', limited),
    )
    if (!held) return false
  }
  return true
}

async function countLive(
  execution: Execution,
  table: TableInfo,
  rowIds: Float64Array,
): Promise<number> {
  const { environment, context } = execution
  const part = await aggregateShards(
    environment.streaming,
    {
      tableId: table.oid,
      readAt: await environment.streaming.strongTimestamp(),
      allowedRowIds: rowIds,
      aggregates: [{ kind: 'countStar', attnum: 0, as: 'native' }],
    },
    allShards(table),
    context,
  )
  return part.values[0]?.count ?? 0
}

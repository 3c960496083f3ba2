/** Row locks of a statement: held until the transaction ends, and only rows that are still what was read. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { LockMode } from '#nodes/locks/contract.js'
import { aggregateShards } from '#nodes/proxy/distribute/fan-out.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import { type Execution, keepsSnapshot } from '#nodes/proxy/statements/execution.js'
import { holdLocks } from '#nodes/proxy/statements/hold-locks.js'
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
  const { environment, transaction, memory, context } = execution
  const { streaming } = environment
  const wanted = { space: table.oid, names: rowIds, mode } as const
  let current: boolean
  if (policy === 'wait') current = await holdLocks(execution, wanted)
  else if (await memory.locks.attempt({ ...wanted, take: 'all' }, context)) current = true
  else if (policy === 'skip') return false
  else {
    throw new DatabaseError(
      SqlState.lockNotAvailable,
      `could not obtain lock on row in relation "${table.name}"`,
    )
  }
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
  for (const { table, inserted } of changes) {
    const names = [...new Set(keyNames(table, inserted))].sort()
    const wanted = { space: table.oid, names, mode: 'exclusive' } as const
    if (!(await holdLocks(execution, wanted))) return false
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

/**
 * LOCK TABLE: strong locks exclude each other until the transaction ends. They do not stop writers that do not lock:
 * those are kept apart row by row (hold-rows.ts) and by the assertions of the commit.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { WantedLocks } from '#nodes/proxy/session/session-locks.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { holdLocks } from '#nodes/proxy/statements/hold-locks.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'

/** lockdefs.h: up to RowExclusiveLock (3) a lock conflicts only with strong ones on the whole table. */
const rowExclusiveLock = 3
const accessExclusiveLock = 8

export async function lockTables(execution: Execution): Promise<Result> {
  const { parsed, transaction, memory, context } = execution
  if (transaction.kind === 'implicit') {
    throw new DatabaseError(
      SqlState.noActiveSqlTransaction,
      'LOCK TABLE can only be used in transaction blocks',
    )
  }
  const mode = Number(parsed.tree['mode'] ?? accessExclusiveLock)
  const relations = (parsed.tree['relations'] ?? []) as readonly { readonly RangeVar?: TreeNode }[]
  for (const { RangeVar: relation } of relations) {
    const table = resolveTable(execution, relation ?? {})
    if (mode <= rowExclusiveLock) continue
    const wanted: WantedLocks = {
      space: 'table',
      names: [table.oid],
      mode: 'exclusive',
      afterWait: 'take',
    }
    if (parsed.tree['nowait'] !== true) await holdLocks(execution, wanted)
    else if (!(await memory.locks.attempt(wanted, context))) {
      throw new DatabaseError(
        SqlState.lockNotAvailable,
        `could not obtain lock on relation "${table.name}"`,
      )
    }
  }
  return commandResult('LOCK TABLE')
}

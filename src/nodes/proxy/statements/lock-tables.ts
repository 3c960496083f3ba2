/**
 * LOCK TABLE: strong locks exclude each other until the transaction ends. They do not stop writers that do not lock:
 * those are kept apart row by row (row-locks.ts) and by the assertions of the commit.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import { withLockTimeout } from '#nodes/proxy/session/lock-timeout.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'

/** lockdefs.h: up to RowExclusiveLock (3) a lock conflicts only with strong ones on the whole table. */
const rowExclusiveLock = 3
const accessExclusiveLock = 8

export async function lockTables(execution: Execution): Promise<Result> {
  const { parsed, transaction, environment, memory, settings, context } = execution
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
    const request = { key: `table:${table.oid}`, shared: false, scope: 'transaction' } as const
    if (environment.advisoryLocks.tryAcquire(memory.owner, request)) continue
    if (parsed.tree['nowait'] === true) {
      throw new DatabaseError(
        SqlState.lockNotAvailable,
        `could not obtain lock on relation "${table.name}"`,
      )
    }
    await withLockTimeout(settings, environment.runtime, context, (limited) =>
      environment.advisoryLocks.acquire(memory.owner, request, limited),
    )
  }
  return commandResult('LOCK TABLE')
}

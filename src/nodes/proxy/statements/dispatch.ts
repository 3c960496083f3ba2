/** The only switch over statements. */
import { notSupported, unreachable } from '#base/errors.js'
import { advisoryStatement, isAdvisoryCall } from '#nodes/proxy/statements/advisory.js'
import { call } from '#nodes/proxy/statements/call.js'
import { copyIn } from '#nodes/proxy/statements/copy-in.js'
import { copyOut } from '#nodes/proxy/statements/copy-out.js'
import { createTableAs } from '#nodes/proxy/statements/create-table-as.js'
import { closeCursor, declareCursor, fetchCursor } from '#nodes/proxy/statements/cursor.js'
import { ddl } from '#nodes/proxy/statements/ddl.js'
import { learnProcesses } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { explain } from '#nodes/proxy/statements/explain.js'
import { insert } from '#nodes/proxy/statements/insert.js'
import { lockTables } from '#nodes/proxy/statements/lock-tables.js'
import { checkpoint, reindex, vacuum } from '#nodes/proxy/statements/maintenance.js'
import { modify, runBody } from '#nodes/proxy/statements/modify.js'
import {
  deallocateStatement,
  executeStatement,
  prepareStatement,
} from '#nodes/proxy/statements/prepared-sql.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import { select } from '#nodes/proxy/statements/select.js'
import { discard, listen, notify, unlisten } from '#nodes/proxy/statements/session-statements.js'
import {
  applySetConfig,
  setStatement,
  showStatement,
} from '#nodes/proxy/statements/settings-statements.js'
import { transactionStatement } from '#nodes/proxy/statements/transaction-control.js'
import { truncate } from '#nodes/proxy/statements/truncate.js'
import { visit } from '#postgres/tree-walk.js'

/** Those that PostgreSQL gives no snapshot (pquery.c, PlannedStmtRequiresSnapshot). */
const withoutSnapshot: ReadonlySet<string> = new Set([
  'transaction',
  'lock',
  'set',
  'show',
  'setConstraints',
  'fetch',
  'listen',
  'notify',
  'unlisten',
  'checkpoint',
])

export async function runStatement(execution: Execution): Promise<Result> {
  const { kind } = execution.parsed
  if (!withoutSnapshot.has(kind)) execution.transaction.hasQueried = true
  switch (kind) {
    case 'select':
      if (modifiesRows(execution)) return modify(execution)
      if (isAdvisoryCall(execution)) return advisoryStatement(execution)
      await applySetConfig(execution)
      await learnProcesses(execution)
      return select(execution)
    case 'insert':
      return insert(execution)
    case 'update':
    case 'delete':
    case 'merge':
      return modify(execution)
    case 'copy':
      return execution.parsed.tree['is_from'] === true ? copyIn(execution) : copyOut(execution)
    case 'createTableAs':
      return createTableAs(execution)
    case 'ddl':
      return ddl(execution)
    case 'truncate':
      return truncate(execution)
    case 'transaction':
      return transactionStatement(execution)
    case 'set':
      return setStatement(execution)
    case 'show':
      return showStatement(execution)
    case 'explain':
      return explain(execution)
    case 'prepare':
      return prepareStatement(execution)
    case 'execute':
      return executeStatement(execution, runStatement)
    case 'deallocate':
      return deallocateStatement(execution)
    case 'declare':
      return declareCursor(execution)
    case 'fetch':
      return fetchCursor(execution)
    case 'close':
      return closeCursor(execution)
    case 'listen':
      return listen(execution)
    case 'notify':
      return notify(execution)
    case 'unlisten':
      return unlisten(execution)
    case 'discard':
      return discard(execution)
    case 'vacuum':
      return vacuum(execution)
    case 'reindex':
      return reindex(execution)
    case 'checkpoint':
      return checkpoint(execution)
    case 'lock':
      return lockTables(execution)
    case 'setConstraints':
      return commandResult('SET CONSTRAINTS')
    case 'cluster':
      throw notSupported('CLUSTER is not supported yet', 'Use VACUUM FULL.')
    case 'refreshMaterializedView':
      throw notSupported('REFRESH MATERIALIZED VIEW is not supported yet')
    case 'call':
      return call(execution)
    case 'do':
      return runBody(execution)
    case 'load':
      // Its settings and types are always there.
      if (execution.parsed.tree['filename'] === 'vector') return commandResult('LOAD')
      throw notSupported('LOAD of anything but "vector" is not supported')
    case 'alterSystem':
      throw notSupported(
        'ALTER SYSTEM is not supported',
        'Use flags or ELANUS_ environment variables.',
      )
    default:
      return unreachable(kind)
  }
}

/** WITH … (INSERT | UPDATE | DELETE … RETURNING) SELECT … */
function modifiesRows(execution: Execution): boolean {
  if (execution.parsed.tree['withClause'] === undefined) return false
  let found = false
  visit(execution.parsed.tree, (tag) => {
    if (tag === 'InsertStmt' || tag === 'UpdateStmt' || tag === 'DeleteStmt' || tag === 'MergeStmt')
      found = true
  })
  return found
}

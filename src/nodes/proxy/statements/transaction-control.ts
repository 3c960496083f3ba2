/** BEGIN, COMMIT, ROLLBACK, savepoints: what they do is the session's business, which owns the transaction. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import type { IsolationLevel } from '#nodes/proxy/session/transaction.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import {
  sayWhatSerializableIs,
  transactionModes,
} from '#nodes/proxy/statements/settings-statements.js'
import type { TreeNode } from '#postgres/classify.js'

export async function transactionStatement(execution: Execution): Promise<Result> {
  const { parsed, memory, transaction, out, settings } = execution
  const kind = String(parsed.tree['kind'] ?? 'TRANS_STMT_BEGIN')
  const name = String(parsed.tree['savepoint_name'] ?? '')
  const warn = (sqlState: string, message: string): void =>
    out.notice({ severity: 'WARNING', sqlState, message })
  const inBlock = transaction.kind === 'explicit'
  switch (kind) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START': {
      if (inBlock) warn(SqlState.activeSqlTransaction, 'there is already a transaction in progress')
      else await memory.control.begin()
      applyModes(memory.control.current(), parsed.tree)
      sayWhatSerializableIs(execution, memory.control.current().isolation)
      return commandResult(kind === 'TRANS_STMT_BEGIN' ? 'BEGIN' : 'START TRANSACTION')
    }
    case 'TRANS_STMT_COMMIT': {
      if (!inBlock) warn(SqlState.noActiveSqlTransaction, 'there is no transaction in progress')
      const tag = transaction.failed ? 'ROLLBACK' : 'COMMIT'
      if (transaction.failed) await memory.control.rollback()
      else await memory.control.commit(execution.context)
      if (inBlock && parsed.tree['chain'] === true) await memory.control.begin()
      return commandResult(tag)
    }
    case 'TRANS_STMT_ROLLBACK': {
      if (!inBlock) warn(SqlState.noActiveSqlTransaction, 'there is no transaction in progress')
      await memory.control.rollback()
      if (inBlock && parsed.tree['chain'] === true) await memory.control.begin()
      return commandResult('ROLLBACK')
    }
    case 'TRANS_STMT_SAVEPOINT':
      requireBlock(inBlock, 'SAVEPOINT')
      transaction.savepoint(name, settings.snapshot(), memory.locks.savepoint())
      return commandResult('SAVEPOINT')
    case 'TRANS_STMT_RELEASE':
      requireBlock(inBlock, 'RELEASE SAVEPOINT')
      if (!transaction.release(name)) throw noSavepoint(name)
      return commandResult('RELEASE')
    case 'TRANS_STMT_ROLLBACK_TO': {
      requireBlock(inBlock, 'ROLLBACK TO SAVEPOINT')
      const restored = transaction.rollbackTo(name)
      if (restored === undefined) throw noSavepoint(name)
      await memory.locks.rollbackTo(restored.mark)
      settings.restore(restored.settings as ReturnType<typeof settings.snapshot>)
      return commandResult('ROLLBACK')
    }
    default:
      throw notSupported('two-phase commit by PREPARE TRANSACTION is not supported')
  }
}

function requireBlock(inBlock: boolean, command: string): void {
  if (!inBlock) {
    throw new DatabaseError(
      SqlState.noActiveSqlTransaction,
      `${command} can only be used in transaction blocks`,
    )
  }
}

function noSavepoint(name: string): DatabaseError {
  return new DatabaseError(
    SqlState.invalidSavepointSpecification,
    `savepoint "${name}" does not exist`,
  )
}

function applyModes(
  transaction: { isolation: IsolationLevel; readOnly: boolean },
  tree: TreeNode,
): void {
  for (const mode of transactionModes((tree['options'] ?? []) as readonly TreeNode[])) {
    if (mode.name === 'transaction_isolation') transaction.isolation = mode.value as IsolationLevel
    if (mode.name === 'transaction_read_only')
      transaction.readOnly = mode.value === '1' || mode.value === 'on'
  }
}

import { DatabaseError, SqlState } from '#base/errors.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import type { ParsedStatement } from '#postgres/classify.js'

const endings = ['TRANS_STMT_COMMIT', 'TRANS_STMT_ROLLBACK', 'TRANS_STMT_ROLLBACK_TO']

/** A block in which a statement has failed takes nothing but its end. @throws 25P02 */
export function refuseInFailedBlock({ failed }: Transaction, parsed: ParsedStatement): void {
  if (!failed) return
  if (parsed.kind === 'transaction' && endings.includes(String(parsed.tree['kind']))) return
  throw new DatabaseError(
    SqlState.inFailedSqlTransaction,
    'current transaction is aborted, commands ignored until end of transaction block',
  )
}

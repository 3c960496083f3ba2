/** A store's failure as the client sees it. */
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import { NotOwnerError } from '#nodes/streaming/ownership.js'
import { isDiskFull } from '#storage/io-error.js'

/** 53100 when the disk is full, 57P03 when the log has another owner, else 58030; what is no StoreError stays as it is. */
export function storeFailure(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error
  if (error.cause instanceof NotOwnerError) return error.cause
  const sqlState = isDiskFull(error) ? SqlState.diskFull : SqlState.ioError
  return new DatabaseError(sqlState, error.message, { cause: error })
}

/** A store's failure as the client sees it. */
import { DatabaseError, SqlState, StoreError } from '#base/errors.js'
import { isDiskFull } from '#storage/io-error.js'

/** 53100 when the disk is full, else 58030; what is no StoreError stays as it is. */
export function storeFailure(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error
  const sqlState = isDiskFull(error) ? SqlState.diskFull : SqlState.ioError
  return new DatabaseError(sqlState, error.message, { cause: error })
}

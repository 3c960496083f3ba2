/** A store's failure as the client sees it. */
import { StoreError, shownStoreError } from '#base/errors.js'
import { NotOwnerError } from '#nodes/streaming/ownership.js'

/** 53100 when the disk is full, 57P03 when the log has another owner, else 58030; what is no StoreError stays as it is. */
export function storeFailure(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error
  if (error.cause instanceof NotOwnerError) return error.cause
  return shownStoreError(error)
}

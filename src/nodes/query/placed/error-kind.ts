/** What an error of a query node says about the node. */
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'

/**
 * 'not loaded': it has forgotten a segment; 'away': it cannot answer now, another may; 'final': every node would say so.
 */
export function errorKind(error: unknown): 'not loaded' | 'away' | 'final' {
  if (error instanceof UnreachableError || error instanceof StoreError) return 'away'
  if (!(error instanceof DatabaseError)) return 'final'
  switch (error.sqlState) {
    case SqlState.objectNotInPrerequisiteState:
      return 'not loaded'
    case SqlState.connectionFailure:
    case SqlState.adminShutdown:
    case SqlState.cannotConnectNow:
    case SqlState.ioError:
      return 'away'
    default:
      return 'final'
  }
}

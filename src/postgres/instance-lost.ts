import { DatabaseError, SqlState } from '#base/errors.js'

/** What the client sees when an instance is gone under its statement. */
export function instanceLost(cause?: unknown): DatabaseError {
  return new DatabaseError(
    SqlState.internalError,
    'the embedded PostgreSQL terminated while it ran the statement',
    { hint: 'It has been replaced; other statements are not affected.', cause },
  )
}

/** The instance is gone because of another call, which it was running or which was cancelled: ask the next instance. */
export class InstanceReplaced extends Error {
  constructor() {
    super('the instance was replaced before it ran the call')
    this.name = 'InstanceReplaced'
  }
}

import { DatabaseError, SqlState } from '#base/errors.js'

/** What the client sees when an instance is gone under its statement. */
export function instanceLost(cause?: unknown): DatabaseError {
  return new DatabaseError(
    SqlState.internalError,
    'the embedded PostgreSQL terminated while it ran the statement',
    { hint: 'It has been replaced; other statements are not affected.', cause },
  )
}

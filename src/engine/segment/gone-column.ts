import { DatabaseError, SqlState } from '#base/errors.js'

/**
 * A reader asks for a column that the schema does not have: it was planned before the column was dropped. PostgreSQL makes
 * such a reader wait behind ALTER TABLE and plan anew; here it is told, and the proxy plans anew. 0A000, as PostgreSQL
 * says of a prepared statement whose table has changed.
 */
export function goneColumn(table: string, attnum: number): DatabaseError {
  return new DatabaseError(
    SqlState.featureNotSupported,
    'cached plan must not change result type',
    { table, detail: `Attribute ${attnum} of the table is gone.` },
  )
}

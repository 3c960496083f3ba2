import { DatabaseError } from '#base/errors.js'
import type { ParsedStatement } from '#postgres/classify.js'

/** Positions in errors count from the start of the whole query string, of which the statement may be a part. */
export function inWhole(error: unknown, parsed: ParsedStatement, sql: string): unknown {
  if (!(error instanceof DatabaseError) || error.fields.position === undefined) return error
  if (parsed.offset === 0 || sql === parsed.sql) return error
  const position = error.fields.position + parsed.offset
  return new DatabaseError(error.sqlState, error.message, { ...error.fields, position })
}

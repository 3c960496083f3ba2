/** What the embedded PostgreSQL must never be asked: it would leave the instance, or kill it. One place for all ways in. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { type ParsedStatement, parseStatements } from '#postgres/classify.js'

const refusedNodes: Readonly<Record<string, string>> = {
  LoadStmt: 'LOAD is not supported',
  AlterSystemStmt: 'ALTER SYSTEM is not supported',
  CreatedbStmt: 'CREATE DATABASE is not supported',
  DropdbStmt: 'DROP DATABASE is not supported',
  CreateTableSpaceStmt: 'CREATE TABLESPACE is not supported',
  DropTableSpaceStmt: 'DROP TABLESPACE is not supported',
  AlterTableSpaceOptionsStmt: 'ALTER TABLESPACE is not supported',
  CreateSubscriptionStmt: 'CREATE SUBSCRIPTION is not supported',
  AlterSubscriptionStmt: 'ALTER SUBSCRIPTION is not supported',
  CreateForeignServerStmt: 'CREATE SERVER is not supported',
  CreateFdwStmt: 'CREATE FOREIGN DATA WRAPPER is not supported',
}

/** @throws DatabaseError 42601 for what does not parse, 0A000 for what is refused */
export function refuseUnsafe(sql: string): readonly ParsedStatement[] {
  const statements = parseStatements(sql)
  for (const { nodeTag, tree } of statements) {
    const words = refusedNodes[nodeTag]
    if (words !== undefined) throw notSupported(words)
    if (nodeTag === 'CopyStmt' && tree['is_program'] === true) {
      throw notSupported(
        'COPY to or from an external program is not supported',
        'Use COPY … STDIN or STDOUT.',
      )
    }
    if (nodeTag === 'CopyStmt' && tree['filename'] !== undefined) {
      throw notSupported(
        'COPY to or from a file on the server is not supported',
        "Use psql's \\copy command.",
      )
    }
  }
  return statements
}

/** The one statement of a text. @throws DatabaseError as refuseUnsafe(), and 42601 if it is none or several */
export function singleStatement(sql: string): ParsedStatement {
  const statements = refuseUnsafe(sql)
  const [statement] = statements
  if (statement === undefined || statements.length > 1) {
    throw new DatabaseError(
      SqlState.syntaxError,
      statement === undefined
        ? 'syntax error at end of input'
        : 'cannot insert multiple commands into a prepared statement',
    )
  }
  return statement
}

import { DatabaseError, SqlState } from '#base/errors.js'
import type { BindMessage } from '#net/pgwire/message.js'
import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'
import type { ParsedStatement, TreeNode } from '#postgres/classify.js'
import type { CatalogSnapshot, Description } from '#postgres/contract.js'
import { stringList } from '#postgres/tree-walk.js'

/** A statement under a name. */
export interface PreparedStatement {
  readonly sql: string
  /** Undefined: the empty query. */
  readonly parsed: ParsedStatement | undefined
  /** As given by the client: 0 or missing = inferred. */
  readonly parameterTypes: readonly number[]
  /** What the client was told, and in which catalog that was found last. Absent: nothing that can change. */
  told?: ToldColumns | undefined
}

export interface ToldColumns {
  readonly catalog: CatalogSnapshot
  readonly fields: Description['fields']
}

/** Statements whose parameters and columns PostgreSQL describes. */
const described: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge'])

export function isDescribed(parsed: ParsedStatement | undefined): parsed is ParsedStatement {
  return parsed !== undefined && (described.has(parsed.kind) || callsProcedure(parsed))
}

/** Not one of ours: PostgreSQL does not know those. */
function callsProcedure({ kind, tree }: ParsedStatement): boolean {
  if (kind !== 'call') return false
  const called = (tree['funccall'] ?? {}) as TreeNode
  return stringList(called['funcname'])[0] !== 'elanus'
}

/** Drivers keep the columns of a statement that they have prepared. @throws 0A000 */
export function checkSameColumns(told: ToldColumns, fields: Description['fields']): void {
  const isSame = (field: ToldColumns['fields'][number], i: number): boolean => {
    const other = fields[i]
    return (
      field.name === other?.name && field.typeOid === other.typeOid && field.typmod === other.typmod
    )
  }
  if (told.fields.length === fields.length && told.fields.every(isSame)) return
  throw new DatabaseError(SqlState.featureNotSupported, 'cached plan must not change result type')
}

/** A bound statement, running or not; or a cursor. */
export interface Portal {
  readonly statement: PreparedStatement
  readonly parameters: readonly (Uint8Array | null)[]
  readonly parameterFormats: readonly number[]
  readonly resultFormats: readonly number[]
  /** Set once it has been executed. */
  running: RunningPortal | undefined
  /** WITH HOLD cursors outlive their transaction. */
  readonly holdable: boolean
}

export interface RunningPortal {
  readonly result: Result
  readonly iterator: AsyncIterator<RowChunk> | Iterator<RowChunk>
  /** Rows fetched from the iterator but not sent yet. */
  rest: RowChunk | undefined
  done: boolean
  sent: number
}

interface Named {
  readonly statements: ReadonlyMap<string, PreparedStatement>
  readonly portals: ReadonlyMap<string, Portal>
}

/** @throws 26000 */
export function statementOf({ statements }: Named, name: string): PreparedStatement {
  const statement = statements.get(name)
  if (statement !== undefined) return statement
  const shown = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`
  throw new DatabaseError(SqlState.invalidSqlStatementName, `${shown} does not exist`)
}

/** @throws 34000 */
export function portalOf({ portals }: Named, name: string): Portal {
  const portal = portals.get(name)
  if (portal !== undefined) return portal
  throw new DatabaseError(SqlState.invalidCursorName, `portal "${name}" does not exist`)
}

/** Not under its name yet. @throws 26000; 08P01: another number of parameters; 42P03: there is such a portal */
export function bindPortal(memory: Named, message: BindMessage): Portal {
  const statement = statementOf(memory, message.statement)
  const expected = statement.parameterTypes.length
  if (isDescribed(statement.parsed) && message.parameters.length !== expected) {
    throw new DatabaseError(
      SqlState.protocolViolation,
      `bind message supplies ${message.parameters.length} parameters, but prepared statement "${message.statement}" requires ${expected}`,
    )
  }
  if (message.portal !== '' && memory.portals.has(message.portal)) {
    throw new DatabaseError(SqlState.duplicateCursor, `cursor "${message.portal}" already exists`)
  }
  return {
    statement,
    parameters: message.parameters,
    parameterFormats: message.parameterFormats,
    resultFormats: message.resultFormats,
    running: undefined,
    holdable: false,
  }
}

import { DatabaseError, SqlState } from '#base/errors.js'
import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { CatalogSnapshot, Description } from '#postgres/contract.js'

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

import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'
import type { ParsedStatement } from '#postgres/classify.js'

/** A statement under a name. */
export interface PreparedStatement {
  readonly sql: string
  /** Undefined: the empty query. */
  readonly parsed: ParsedStatement | undefined
  /** As given by the client: 0 or missing = inferred. */
  readonly parameterTypes: readonly number[]
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

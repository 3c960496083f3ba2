import type { FieldDescription as WireField } from '#net/pgwire/backend.js'

/** Whole DataRow messages. */
export interface RowChunk {
  readonly data: Uint8Array
  readonly count: number
}

export interface Result {
  /** Undefined: the statement returns no rows. */
  readonly fields: readonly WireField[] | undefined
  readonly rows: AsyncIterable<RowChunk> | readonly RowChunk[]
  /** CommandComplete tag, given the number of rows sent. undefined: the statement has answered itself. */
  readonly tag: (rowCount: number) => string
}

export function commandResult(tag: string): Result {
  return { fields: undefined, rows: [], tag: () => tag }
}

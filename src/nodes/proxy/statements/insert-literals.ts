/**
 * Rows of an INSERT whose values are literals in its text, by the plan of its template: neither grammar nor PostgreSQL sees the
 * values, the codecs read them where they lie. Whatever is not plain here is left to the statement's tree.
 */
import type { Column } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { parseText } from '#engine/types/parse-text.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { literalFits } from '#nodes/proxy/statements/insert-plan.js'
import { vectorColumn } from '#nodes/proxy/statements/insert-vectors.js'
import type { TableColumn } from '#postgres/contract.js'
import { type Literal, type LiteralInsert, literalText } from '#postgres/literal-insert.js'

/** Text of a statement as bytes, if characters are bytes in it. Made when a vector is in it. */
export class LiteralText {
  readonly literals: LiteralInsert
  #bytes: Uint8Array | undefined

  constructor(literals: LiteralInsert) {
    this.literals = literals
  }

  get bytes(): Uint8Array | undefined {
    const { text } = this.literals
    if (this.#bytes === undefined && Buffer.byteLength(text) === text.length)
      this.#bytes = Buffer.from(text, 'latin1')
    return this.#bytes
  }
}

/**
 * The literals at this place of the rows as a column.
 * @returns undefined when PostgreSQL has to look at them
 * @throws what the codecs throw; the words may lack what PostgreSQL adds (position)
 */
export function literalColumn(
  column: TableColumn,
  place: number,
  source: LiteralText,
  { settings }: Execution,
): Column | undefined {
  const { rows } = source.literals
  for (const row of rows) {
    const literal = row[place]
    if (literal === undefined || !fits(literal, column)) return undefined
  }
  if (column.kind === 'vector' && column.width > 0) {
    const { bytes } = source
    const vectors =
      bytes === undefined
        ? undefined
        : vectorColumn(column.width, rows.length, (r) => {
            const literal = rows[r]?.[place]
            if (literal?.kind !== 'quoted' || literal.doubled) return undefined
            return { bytes, from: literal.from, to: literal.to, binary: false }
          })
    if (vectors !== undefined) return vectors
  }
  const builder = createColumnBuilder(column.kind, column.width, rows.length)
  for (const row of rows) {
    const literal = row[place]
    if (literal === undefined) return undefined
    if (literal.kind === 'null') {
      builder.appendNull()
      continue
    }
    const text = literalText(source.literals, literal)
    const datum = parseText(column.typeName, column.typmod, text, settings.types())
    if (datum === undefined) return undefined
    builder.appendDatum(datum)
  }
  return builder.finish()
}

function fits({ kind, cast, from, to }: Literal, column: TableColumn): boolean {
  switch (kind) {
    case 'quoted':
    case 'null':
      return cast === undefined || literalFits(cast, column)
    case 'integer':
      return literalFits(to - from < 10 ? 'int4' : to - from < 19 ? 'int8' : 'numeric', column)
    case 'decimal':
      return literalFits('numeric', column)
    case 'boolean':
      return literalFits('bool', column)
    case 'default':
      return false
    default:
      return kind satisfies never
  }
}

/**
 * Takes long vector literals out of a text, so that statements which differ only in them share one plan:
 * `… ORDER BY e <-> '[0.1, …]' LIMIT 5` becomes `… e <-> $1 LIMIT 5`. An untyped parameter resolves as the untyped
 * literal did.
 */
export interface LiftedText {
  readonly sql: string
  /** Values of $first, $first+1 … in text format. */
  readonly values: readonly string[]
}

const literalLengthMin = 200
const token = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\$([A-Za-z_]\w*)?\$[\s\S]*?\$\1\$/g

/** `first`: number of the first free parameter. Texts that are not simple to read are returned as they are. */
export function liftVectorLiterals(sql: string, first: number): LiftedText {
  const unchanged = { sql, values: [] }
  if (sql.length < literalLengthMin || !sql.includes("'[")) return unchanged
  // Escapes and nested comments would need a whole lexer; statements with long vectors rarely have them.
  if (sql.includes('\\') || sql.includes('/*')) return unchanged
  const values: string[] = []
  const lifted = sql.replace(token, (text: string, _tag: unknown, at: number) => {
    if (text.length < literalLengthMin || !text.startsWith("'[") || !text.endsWith("]'"))
      return text
    // A letter or & before the quote (E'', B'', U&'') or a cast by type name (vector '[…]') keeps it a literal.
    if (/[\w&$"]\s*$/.test(sql.slice(Math.max(0, at - 32), at)) && !afterKeyword(sql, at))
      return text
    values.push(text.slice(1, -1))
    return `$${first + values.length - 1}`
  })
  return values.length === 0 ? unchanged : { sql: lifted, values }
}

function afterKeyword(sql: string, at: number): boolean {
  return /(?<![\w"])(select|by|and|or|not|then|else|when|between|values|returning|limit|in|on|where)\s+$/i.test(
    sql.slice(Math.max(0, at - 32), at),
  )
}

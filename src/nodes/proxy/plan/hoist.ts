/**
 * Scalar sub-selects that do not depend on the rows around them: `ORDER BY e <=> (SELECT e FROM t WHERE id = 7)`. They
 * are run first and become parameters, so that the rest can be a native plan.
 */
import type { ParsedStatement, TreeNode } from '#postgres/classify.js'
import type { PlanNode } from '#postgres/contract.js'
import { visit } from '#postgres/tree-walk.js'

export interface SubselectText {
  /** Character positions of the parentheses and what is between them, in ParsedStatement.sql. */
  readonly start: number
  readonly end: number
  readonly sql: string
}

export function hasInitPlan(node: PlanNode): boolean {
  const name = node['Subplan Name']
  if (typeof name === 'string' && name.startsWith('InitPlan')) return true
  return (node.Plans ?? []).some(hasInitPlan)
}

/** Outermost scalar sub-selects of the statement, in text order; none when one cannot be located for sure. */
export function scalarSubselects(parsed: ParsedStatement): readonly SubselectText[] {
  const locations: number[] = []
  const bytes = Buffer.from(parsed.sql)
  visit({ [parsed.nodeTag]: parsed.tree }, (tag, node: TreeNode) => {
    if (tag === 'SubLink' && node['subLinkType'] === 'EXPR_SUBLINK') {
      locations.push(Number(node['location'] ?? 0) - parsed.byteOffset)
    }
  })
  const found: SubselectText[] = []
  for (const location of locations.sort((a, b) => a - b)) {
    const at = bytes.toString('utf8', 0, location).length
    const start = parsed.sql.indexOf('(', at)
    const last = found.at(-1)
    if (last !== undefined && start < last.end) continue
    const end = start < 0 ? -1 : closingParenthesis(parsed.sql, start)
    if (end < 0) return []
    found.push({ start, end: end + 1, sql: parsed.sql.slice(start + 1, end) })
  }
  return found
}

/** Position of the parenthesis that closes the one at `start`; strings, quoted names and comments are skipped. */
function closingParenthesis(sql: string, start: number): number {
  const token =
    /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$([A-Za-z_]*)\$[\s\S]*?\$\1\$|[()]|\\/g
  token.lastIndex = start
  let depth = 0
  for (let match = token.exec(sql); match !== null; match = token.exec(sql)) {
    if (match[0] === '(') depth += 1
    if (match[0] === ')') {
      depth -= 1
      if (depth === 0) return match.index
    }
    // A backslash outside of a plain string: E'' syntax, which this scanner does not read.
    if (match[0] === '\\') return -1
  }
  return -1
}

/** The statement with each sub-select replaced by a parameter. */
export function replaceSubselects(
  sql: string,
  subselects: readonly SubselectText[],
  firstParameter: number,
): string {
  let out = ''
  let at = 0
  for (const [i, { start, end }] of subselects.entries()) {
    out += `${sql.slice(at, start)} $${firstParameter + i} `
    at = end
  }
  return out + sql.slice(at)
}

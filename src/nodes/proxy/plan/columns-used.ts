/**
 * Which columns of a scanned table a statement can read, by name: a superset is safe, a missing column is not. EXPLAIN's
 * Output lists too many, so the parse tree decides: a column whose name appears nowhere in it is not read.
 */
import type { ParsedStatement } from '#postgres/classify.js'
import type { TableInfo } from '#postgres/contract.js'
import { stringList, visit } from '#postgres/tree-walk.js'

export interface NamesUsed {
  /** Last names of column references, and names in USING. */
  readonly names: ReadonlySet<string>
  /** References of one name alone: may be a column or, if it is a relation's name, its whole row. */
  readonly bareNames: ReadonlySet<string>
  /** A star, NATURAL, (row).field: may read every column. */
  readonly everything: boolean
}

export function namesUsed(statement: ParsedStatement): NamesUsed {
  const names = new Set<string>()
  const bareNames = new Set<string>()
  let everything = false
  visit({ [statement.nodeTag]: statement.tree }, (tag, node) => {
    if (tag === 'ColumnRef') {
      const fields = stringList(node['fields'])
      const last = fields.at(-1)
      if (last !== undefined) names.add(last)
      if (last !== undefined && fields.length === 1) bareNames.add(last)
      const raw = node['fields']
      if (Array.isArray(raw) && raw.some((field) => 'A_Star' in (field as object)))
        everything = true
    } else if (tag === 'JoinExpr') {
      if (node['isNatural'] === true) everything = true
      for (const name of stringList(node['usingClause'])) names.add(name)
    } else if (tag === 'A_Indirection') {
      everything = true
    }
  })
  return { names, bareNames, everything }
}

/**
 * Attribute numbers of the stored columns to load for a scan.
 * @param namedInStatement false when the table is reached through a view, whose text is not in the tree
 */
export function columnsRead(
  table: TableInfo,
  alias: string,
  used: NamesUsed,
  namedInStatement: boolean,
): readonly number[] {
  const stored = table.columns.filter((column) => column.generated !== 'v')
  const wholeRow = used.bareNames.has(alias) || used.bareNames.has(table.name)
  const virtual = stored.length !== table.columns.length
  if (used.everything || virtual || wholeRow || !namedInStatement) {
    return stored.map((column) => column.attnum)
  }
  return stored.filter((column) => used.names.has(column.name)).map((column) => column.attnum)
}

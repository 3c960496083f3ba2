/**
 * Which columns of a scanned table a statement can read, by name: a superset is safe, a missing column is not. What EXPLAIN says of the
 * columns of scans lists too many; everything else in it, and the parse tree, name those that are read: a column whose name appears in
 * neither is not. Where columns may have other names than their own (views, aliases of columns) nothing is left out.
 */
import { planNames } from '#nodes/proxy/plan/plan-texts.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { CatalogSnapshot, PlanNode, TableInfo } from '#postgres/contract.js'
import { collectRelations, stringList, visit } from '#postgres/tree-walk.js'

export interface NamesUsed {
  readonly names: ReadonlySet<string>
  /** A star, NATURAL, (row).field, a whole row, names of its own: may read every column. */
  readonly everything: boolean
}

interface Statement {
  readonly parsed: ParsedStatement
  readonly explained: PlanNode
  readonly catalog: CatalogSnapshot
}

export function namesUsed({ parsed, explained, catalog }: Statement): NamesUsed {
  const plan = planNames(explained)
  const names = new Set(plan.names)
  let everything = plan.wholeRow || namesViews(parsed, catalog)
  visit({ [parsed.nodeTag]: parsed.tree }, (tag, node) => {
    if (tag === 'ColumnRef') {
      const last = stringList(node['fields']).at(-1)
      if (last !== undefined) names.add(last)
      const raw = node['fields']
      if (Array.isArray(raw) && raw.some((field) => 'A_Star' in (field as object)))
        everything = true
    } else if (tag === 'JoinExpr') {
      if (node['isNatural'] === true) everything = true
      for (const name of stringList(node['usingClause'])) names.add(name)
    } else if (tag === 'A_Indirection' || node['colnames'] !== undefined) {
      everything = true
    }
  })
  return { names, everything }
}

/** Or relations of the system: anything that is not a table of users. */
function namesViews({ tree }: ParsedStatement, { tables }: CatalogSnapshot): boolean {
  const known = new Set([...tables.values()].map(({ name }) => name))
  return collectRelations(tree).some(({ name }) => !known.has(name))
}

/** Attribute numbers of the stored columns to load for a scan. */
export function columnsRead(table: TableInfo, used: NamesUsed): readonly number[] {
  const stored = table.columns.filter((column) => column.generated !== 'v')
  const isVirtual = stored.length !== table.columns.length
  const read =
    used.everything || isVirtual ? stored : stored.filter((column) => used.names.has(column.name))
  return read.map((column) => column.attnum)
}

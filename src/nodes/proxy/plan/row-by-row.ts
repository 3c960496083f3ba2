/**
 * UPDATE and DELETE that judge and change each row by itself: one scan (or one of each partition) under ModifyTable, nothing else is
 * looked at and nothing fires. Such a statement may run over a part of the rows at a time.
 */

import { tableOf } from '#nodes/proxy/plan/plan-query.js'
import { calledFunctions, planTexts } from '#nodes/proxy/plan/plan-texts.js'
import type { ParsedStatement } from '#postgres/classify.js'
import type { CatalogSnapshot, PlanNode, TableInfo } from '#postgres/contract.js'
import { visit } from '#postgres/tree-walk.js'

/** What they give depends on the rows before; also as a column's default. */
const sequenceFunctions = /\b(nextval|setval|currval|lastval)\b/

export function isRowByRow(
  parsed: ParsedStatement,
  explained: PlanNode,
  catalog: CatalogSnapshot,
): boolean {
  if (parsed.kind !== 'update' && parsed.kind !== 'delete') return false
  if (explained['Node Type'] !== 'ModifyTable' || explained.Plans?.length !== 1) return false
  const scans = scansBelow(explained.Plans[0])
  if (scans === undefined) return false
  const tables = scans.map((node) => tableOf(node, catalog))
  if (!tables.every((table) => table !== undefined && firesNothing(table, catalog))) return false
  return !looksElsewhere(parsed, explained, catalog)
}

function scansBelow(node: PlanNode | undefined): readonly PlanNode[] | undefined {
  if (node === undefined) return undefined
  if (node['Node Type'] === 'Seq Scan') return node.Plans === undefined ? [node] : undefined
  if (node['Node Type'] !== 'Append') return undefined
  const scans = (node.Plans ?? []).map(scansBelow)
  return scans.every((below) => below !== undefined) ? scans.flat() : undefined
}

function firesNothing(table: TableInfo, catalog: CatalogSnapshot): boolean {
  const parent = catalog.tables.get(table.parentOid)
  return (
    !table.hasTriggers &&
    table.referencedBy.length === 0 &&
    (parent === undefined || firesNothing(parent, catalog))
  )
}

/** Sub-selects are nodes of the plan. */
function looksElsewhere(
  parsed: ParsedStatement,
  explained: PlanNode,
  catalog: CatalogSnapshot,
): boolean {
  if (calledFunctions(explained, catalog) !== 'none') return true
  if (planTexts(explained).some((text) => sequenceFunctions.test(text))) return true
  let ofCursor = false
  visit(parsed.tree, (tag) => {
    if (tag === 'CurrentOfExpr') ofCursor = true
  })
  return ofCursor
}

/**
 * The tables whose rows DDL looks at: those it names, partitions instead of their parents. A new partition takes its rows
 * from the default one, so that one is looked at instead of all of the parent's.
 */
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TreeNode } from '#postgres/classify.js'
import type { TableInfo } from '#postgres/contract.js'
import { collectRelations } from '#postgres/tree-walk.js'

export async function tablesLookedAt(execution: Execution): Promise<readonly TableInfo[]> {
  const { parsed, catalog } = execution
  const names = new Set(collectRelations(parsed.tree).map(({ name }) => name))
  const named = [...catalog.tables.values()].filter((table) => names.has(table.name))
  if (!addsPartition(parsed.nodeTag, parsed.tree)) return leavesOf(named, execution)
  const relation = (parsed.tree['relation'] ?? {}) as TreeNode
  const isNew = parsed.nodeTag === 'CreateStmt'
  // CREATE names the new table first and its parent after PARTITION OF, ALTER the parent first.
  const parents = named.filter((table) => isNew || table.name === relation['relname'])
  const looked = named.filter((table) => !parents.includes(table))
  for (const parent of parents) {
    if (parent.kind === 'table') continue
    const table = catalog.tables.get(await defaultPartition(execution, parent))
    if (table !== undefined) looked.push(table)
  }
  return leavesOf(looked, execution)
}

function addsPartition(nodeTag: string, tree: TreeNode): boolean {
  if (nodeTag === 'CreateStmt') return true
  const commands = (tree['cmds'] ?? []) as readonly { readonly AlterTableCmd?: TreeNode }[]
  return commands.some(
    ({ AlterTableCmd: command }) => command?.['subtype'] === 'AT_AttachPartition',
  )
}

function leavesOf(tables: readonly TableInfo[], { catalog }: Execution): readonly TableInfo[] {
  const found = new Map<number, TableInfo>()
  const add = (table: TableInfo | undefined): void => {
    if (table === undefined) return
    if (table.kind === 'table') found.set(table.oid, table)
    for (const oid of table.partitions) add(catalog.tables.get(oid))
  }
  for (const table of tables) add(table)
  return [...found.values()]
}

/** 0: it has none. */
async function defaultPartition(execution: Execution, parent: TableInfo): Promise<number> {
  const { environment, transaction, context } = execution
  const statement = {
    sql: `SELECT partdefid::int8::text FROM pg_catalog.pg_partitioned_table WHERE partrelid = ${parent.oid}`,
    parameterTypes: [],
    parameters: [],
    parameterFormats: [],
    resultFormats: [],
  }
  const result = await environment.postgres.catalogQuery(
    { ...evaluationOf(execution, statement, []), pendingDdl: transaction.pendingDdl },
    context,
  )
  const [first] = dataRows(result)
  return Number(Buffer.from(first?.[0] ?? []).toString() || '0')
}

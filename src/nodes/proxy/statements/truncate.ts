/** TRUNCATE: every row of the tables goes at one timestamp. */
import { DatabaseError, SqlState } from '#base/errors.js'
import { checkPrivilege } from '#nodes/proxy/statements/check-privilege.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'
import type { TableInfo } from '#postgres/contract.js'

export async function truncate(execution: Execution): Promise<Result> {
  const { parsed, transaction, environment, catalog } = execution
  if (transaction.readOnly)
    throw new DatabaseError('25006', 'cannot execute TRUNCATE TABLE in a read-only transaction')
  const relations = (parsed.tree['relations'] ?? []) as readonly { readonly RangeVar?: TreeNode }[]
  const tables = new Map<number, TableInfo>()
  const add = (table: TableInfo): void => {
    tables.set(table.oid, table)
    for (const oid of table.partitions) {
      const partition = catalog.tables.get(oid)
      if (partition !== undefined) add(partition)
    }
  }
  for (const relation of relations) add(resolveTable(execution, relation.RangeVar ?? {}))
  const cascade = parsed.tree['behavior'] === 'DROP_CASCADE'
  for (const table of tables.values()) {
    for (const { tableOid } of table.referencedBy) {
      const referring = catalog.tables.get(tableOid)
      if (referring === undefined || tables.has(tableOid)) continue
      if (!cascade) {
        throw new DatabaseError(
          SqlState.featureNotSupported,
          'cannot truncate a table referenced in a foreign key constraint',
          {
            detail: `Table "${referring.name}" references "${table.name}".`,
            hint: `Truncate table "${referring.name}" at the same time, or use TRUNCATE ... CASCADE.`,
          },
        )
      }
      // Map iteration goes on to what is added while it runs.
      add(referring)
    }
  }
  for (const table of tables.values()) await checkPrivilege(execution, table, 'TRUNCATE')
  for (const table of tables.values()) {
    if (table.kind === 'table') transaction.overlay(table.oid).truncate()
    if (parsed.tree['restart_seqs'] !== true) continue
    for (const column of table.columns) {
      const info = catalog.sequences.get(column.sequenceOid)
      if (info !== undefined) await environment.sequences.restart(info, info.start, false)
    }
  }
  return commandResult('TRUNCATE TABLE')
}

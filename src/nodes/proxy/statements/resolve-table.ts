import { DatabaseError, SqlState } from '#base/errors.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TreeNode } from '#postgres/classify.js'
import type { TableInfo } from '#postgres/contract.js'

/** The table a RangeVar means: with its schema, or the first along search_path. @throws 42P01 */
export function resolveTable(
  execution: Pick<Execution, 'catalog' | 'settings'>,
  rangeVar: TreeNode,
): TableInfo {
  const name = String(rangeVar['relname'] ?? '')
  const schema = rangeVar['schemaname']
  const schemas = typeof schema === 'string' ? [schema] : searchPath(execution)
  for (const candidate of schemas) {
    const table = execution.catalog.tablesByName.get(`${candidate}.${name}`)
    if (table !== undefined) return table
  }
  const shown = typeof schema === 'string' ? `${schema}.${name}` : name
  throw new DatabaseError(SqlState.undefinedTable, `relation "${shown}" does not exist`)
}

export function searchPath(execution: Pick<Execution, 'settings'>): readonly string[] {
  const text = execution.settings.get('search_path') ?? '"$user", public'
  return text
    .split(',')
    .map((part) => part.trim().replace(/^"(.*)"$/, '$1'))
    .map((part) => (part === '$user' ? execution.settings.user : part))
}

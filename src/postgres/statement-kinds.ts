/** What to do with a statement, by the type of its parse node. */
import type { TreeNode } from '#postgres/tree-node.js'

export type StatementKind =
  | 'select'
  | 'insert'
  | 'update'
  | 'delete'
  | 'merge'
  | 'copy'
  /** CREATE TABLE AS, SELECT INTO, CREATE MATERIALIZED VIEW. */
  | 'createTableAs'
  | 'refreshMaterializedView'
  /** Everything that changes the catalog only: CREATE, ALTER, DROP, COMMENT, GRANT … */
  | 'ddl'
  | 'truncate'
  | 'transaction'
  | 'set'
  | 'show'
  | 'explain'
  | 'prepare'
  | 'execute'
  | 'deallocate'
  | 'declare'
  | 'fetch'
  | 'close'
  | 'listen'
  | 'notify'
  | 'unlisten'
  | 'discard'
  | 'lock'
  | 'vacuum'
  | 'cluster'
  | 'reindex'
  | 'checkpoint'
  | 'call'
  | 'do'
  | 'setConstraints'
  | 'load'
  | 'alterSystem'

const kinds: ReadonlyMap<string, StatementKind> = new Map<string, StatementKind>([
  ['SelectStmt', 'select'],
  ['InsertStmt', 'insert'],
  ['UpdateStmt', 'update'],
  ['DeleteStmt', 'delete'],
  ['MergeStmt', 'merge'],
  ['CopyStmt', 'copy'],
  ['CreateTableAsStmt', 'createTableAs'],
  ['RefreshMatViewStmt', 'refreshMaterializedView'],
  ['TruncateStmt', 'truncate'],
  ['TransactionStmt', 'transaction'],
  ['VariableSetStmt', 'set'],
  ['VariableShowStmt', 'show'],
  ['ExplainStmt', 'explain'],
  ['PrepareStmt', 'prepare'],
  ['ExecuteStmt', 'execute'],
  ['DeallocateStmt', 'deallocate'],
  ['DeclareCursorStmt', 'declare'],
  ['FetchStmt', 'fetch'],
  ['ClosePortalStmt', 'close'],
  ['ListenStmt', 'listen'],
  ['NotifyStmt', 'notify'],
  ['UnlistenStmt', 'unlisten'],
  ['DiscardStmt', 'discard'],
  ['LockStmt', 'lock'],
  ['VacuumStmt', 'vacuum'],
  ['ClusterStmt', 'cluster'],
  ['ReindexStmt', 'reindex'],
  ['CheckPointStmt', 'checkpoint'],
  ['CallStmt', 'call'],
  ['DoStmt', 'do'],
  ['ConstraintsSetStmt', 'setConstraints'],
  ['LoadStmt', 'load'],
  ['AlterSystemStmt', 'alterSystem'],
])

/** ANALYZE alone is a VacuumStmt too: `tree.is_vacuumcmd` tells them apart. */
export function statementKindOf(nodeTag: string, tree: TreeNode): StatementKind {
  // SELECT … INTO hides in the leftmost leaf of a set operation.
  if (nodeTag === 'SelectStmt' && hasIntoClause(tree)) return 'createTableAs'
  return kinds.get(nodeTag) ?? 'ddl'
}

function hasIntoClause(select: TreeNode): boolean {
  for (let node: TreeNode | undefined = select; node !== undefined; ) {
    if (node['intoClause'] !== undefined) return true
    node = node['larg'] as TreeNode | undefined
  }
  return false
}

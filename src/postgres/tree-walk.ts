/** Questions to a parse tree that need no catalog. */
import type { TreeNode } from '#postgres/classify.js'

/** A relation as the statement names it; a name without schema is resolved along search_path. */
export interface RelationName {
  readonly schemaName: string | undefined
  readonly name: string
  /** UTF-8 byte of the whole string; -1 if unknown. */
  readonly location: number
}

/** Every relation named anywhere in the tree except where the name means a common table expression. */
export function collectRelations(tree: TreeNode): readonly RelationName[] {
  const out: RelationName[] = []
  walkRelations(tree, new Set(), out)
  return out
}

/** Names of functions called, as written ('f', 'schema.f'), lower case unless quoted. */
export function collectFunctionNames(tree: TreeNode): ReadonlySet<string> {
  const names = new Set<string>()
  visit(tree, (tag, node) => {
    if (tag !== 'FuncCall' && tag !== 'funccall') return
    const parts = stringList(node['funcname'])
    if (parts.length > 0) names.add(parts.join('.'))
  })
  return names
}

/** Highest $n; 0 if there is none. */
export function parameterCount(tree: TreeNode): number {
  let highest = 0
  visit(tree, (tag, node) => {
    if (tag === 'ParamRef') highest = Math.max(highest, Number(node['number'] ?? 0))
  })
  return highest
}

/** The strings of a list of String nodes (names, options). */
export function stringList(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  const out: string[] = []
  for (const item of value as readonly TreeNode[]) {
    const text = (item['String'] as TreeNode | undefined)?.['sval']
    if (typeof text === 'string') out.push(text)
  }
  return out
}

/** Calls `enter` for every object below, with the key it hangs under (its tag, or the field's name). */
export function visit(tree: TreeNode, enter: (tag: string, node: TreeNode) => void): void {
  for (const key in tree) {
    const value = tree[key]
    if (typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) {
      for (const item of value) {
        if (typeof item === 'object' && item !== null) visit(item as TreeNode, enter)
      }
    } else {
      enter(key, value as TreeNode)
      visit(value as TreeNode, enter)
    }
  }
}

function walkRelations(node: TreeNode, hidden: ReadonlySet<string>, out: RelationName[]): void {
  const relname = node['relname']
  if (typeof relname === 'string' && node['relpersistence'] !== undefined) {
    const schemaName = node['schemaname'] as string | undefined
    if (schemaName !== undefined || !hidden.has(relname)) {
      out.push({ schemaName, name: relname, location: Number(node['location'] ?? -1) })
    }
    return
  }
  const withClause = node['withClause'] as TreeNode | undefined
  const inside = withClause === undefined ? hidden : walkWith(withClause, hidden, out)
  for (const key in node) {
    if (key === 'withClause') continue
    const value = node[key]
    if (typeof value !== 'object' || value === null) continue
    // The target of INSERT, UPDATE, DELETE and MERGE is always a table.
    const scope = key === 'relation' && withClause !== undefined ? hidden : inside
    if (Array.isArray(value)) {
      for (const item of value) {
        if (typeof item === 'object' && item !== null) walkRelations(item as TreeNode, scope, out)
      }
    } else {
      walkRelations(value as TreeNode, scope, out)
    }
  }
}

/** Without RECURSIVE a common table expression is seen by those after it only. */
function walkWith(
  withClause: TreeNode,
  hidden: ReadonlySet<string>,
  out: RelationName[],
): Set<string> {
  const ctes = ((withClause['ctes'] ?? []) as readonly TreeNode[]).map(
    (item) => (item['CommonTableExpr'] ?? {}) as TreeNode,
  )
  const inside = new Set(hidden)
  const recursive = withClause['recursive'] === true
  if (recursive) for (const cte of ctes) inside.add(String(cte['ctename']))
  for (const cte of ctes) {
    const query = cte['ctequery'] as TreeNode | undefined
    if (query !== undefined) walkRelations(query, recursive ? inside : new Set(inside), out)
    inside.add(String(cte['ctename']))
  }
  return inside
}

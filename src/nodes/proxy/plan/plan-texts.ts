/**
 * What PostgreSQL's plan (EXPLAIN VERBOSE) says in words: conditions, keys and outputs of every node. It names what the statement's own
 * text does not: columns behind views, whole rows, calls in the bodies of functions that were inlined.
 */
import type { CatalogSnapshot, PlanNode } from '#postgres/contract.js'

/** These hand on the rows of what is below as they are, or have no columns of their own. */
const passingOn: ReadonlySet<string> = new Set(['Append', 'Merge Append', 'ModifyTable'])
/** The parent names what it takes of the columns that come from below. */
const named: ReadonlySet<unknown> = new Set(['Outer', 'Inner'])

/** Without string constants. Left out: the columns of a scan whose parent says which of them it takes; PostgreSQL lists all there. */
export function planTexts(explained: PlanNode): readonly string[] {
  const texts: string[] = []
  const walk = (node: PlanNode, parent: PlanNode | undefined): void => {
    const isListed =
      node['Relation Name'] !== undefined &&
      parent?.Output !== undefined &&
      !passingOn.has(parent['Node Type']) &&
      named.has(node['Parent Relationship'])
    for (const [key, value] of Object.entries(node)) {
      if (key === 'Plans' || (key === 'Output' && isListed)) continue
      collect(value, texts)
    }
    for (const child of node.Plans ?? []) walk(child, node)
  }
  walk(explained, undefined)
  return texts
}

function collect(value: unknown, texts: string[]): void {
  if (typeof value === 'string') texts.push(withoutConstants(value))
  else if (Array.isArray(value)) for (const item of value) collect(item, texts)
}

const identifier = /"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*/gu
const qualifiedName =
  /("(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)\.("(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)/gu
const calledName = /("(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)\(/gu

export interface PlanNames {
  /** Everything that may be a column. */
  readonly names: ReadonlySet<string>
  /** A whole row is used: `alias.*`. */
  readonly wholeRow: boolean
}

export function planNames(explained: PlanNode): PlanNames {
  return namesIn(planTexts(explained))
}

export function namesIn(texts: readonly string[]): PlanNames {
  const names = new Set<string>()
  let wholeRow = false
  for (const text of texts) {
    for (const [name] of text.matchAll(identifier)) names.add(unquote(name))
    wholeRow ||= text.includes('.*')
  }
  return { names, wholeRow }
}

/** Names after `qualifier.` in a condition. */
export function namesAfter(qualifier: string, text: string): readonly string[] {
  const found: string[] = []
  for (const [, before = '', name = ''] of withoutConstants(text).matchAll(qualifiedName))
    if (unquote(before) === qualifier) found.push(unquote(name))
  return found
}

/**
 * Functions of users that the statement calls, as the worst of them was declared: 'stable' ones may read any table, 'volatile' ones
 * change it, too. IMMUTABLE ones do neither.
 */
export function calledFunctions(
  explained: PlanNode,
  { userFunctions }: CatalogSnapshot,
): 'none' | 'stable' | 'volatile' {
  let worst: 'none' | 'stable' | 'volatile' = 'none'
  if (userFunctions.size === 0) return worst
  for (const text of planTexts(explained)) {
    for (const [, name = ''] of text.matchAll(calledName)) {
      const found = userFunctions.get(unquote(name))
      if (found === 'volatile') return found
      worst = found ?? worst
    }
  }
  return worst
}

function withoutConstants(text: string): string {
  return text.replace(/'(?:[^']|'')*'/g, "''")
}

function unquote(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name
}

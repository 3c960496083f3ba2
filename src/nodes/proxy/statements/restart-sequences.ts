/**
 * ALTER SEQUENCE … RESTART and ALTER TABLE … ALTER COLUMN … RESTART: the counter is ours, the catalog has but its bounds. Done at once, and
 * not undone by ROLLBACK, as with TRUNCATE … RESTART IDENTITY.
 */
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import type { TreeNode } from '#postgres/classify.js'
import type { CatalogSnapshot, SequenceInfo } from '#postgres/contract.js'

interface Restart {
  readonly info: SequenceInfo
  /** Absent: where it starts. */
  readonly at: bigint | undefined
}

/** @param after the catalog with the statement applied: bounds may have changed with it */
export async function restartSequences(
  execution: Execution,
  after: CatalogSnapshot,
): Promise<void> {
  for (const { info, at } of restarts(execution, after))
    await execution.environment.sequences.restart(info, at ?? info.start, false)
}

function restarts(execution: Execution, after: CatalogSnapshot): readonly Restart[] {
  const { nodeTag, tree } = execution.parsed
  if (nodeTag === 'AlterSeqStmt') {
    const info = sequenceOf((tree['sequence'] ?? {}) as TreeNode, after)
    return restartIn(info, tree['options'])
  }
  if (nodeTag !== 'AlterTableStmt') return []
  const commands = (tree['cmds'] ?? []) as readonly { readonly AlterTableCmd?: TreeNode }[]
  return commands.flatMap(({ AlterTableCmd: command }) => {
    if (command?.['subtype'] !== 'AT_SetIdentity') return []
    const table = resolveTable(execution, (tree['relation'] ?? {}) as TreeNode)
    const column = table.columns.find(({ name }) => name === command['name'])
    const definition = command['def'] as { readonly List?: TreeNode } | undefined
    return restartIn(after.sequences.get(column?.sequenceOid ?? 0), definition?.List?.['items'])
  })
}

function restartIn(info: SequenceInfo | undefined, options: unknown): readonly Restart[] {
  if (info === undefined || !Array.isArray(options)) return []
  const elements = options as readonly { readonly DefElem?: TreeNode }[]
  const restart = elements.find(({ DefElem: element }) => element?.['defname'] === 'restart')
  return restart === undefined ? [] : [{ info, at: numberOf(restart.DefElem?.['arg']) }]
}

/** Zeros are left out of the tree; what does not fit into an integer is a Float. */
function numberOf(node: unknown): bigint | undefined {
  if (node === undefined) return undefined
  const { Integer: integer, Float: float } = node as {
    readonly Integer?: { readonly ival?: number }
    readonly Float?: { readonly fval?: string }
  }
  if (float?.fval !== undefined) return BigInt(float.fval)
  return BigInt(integer?.ival ?? 0)
}

/** A name without schema: PostgreSQL has resolved it along search_path; the one in public, if there are several. */
function sequenceOf(relation: TreeNode, { sequences }: CatalogSnapshot): SequenceInfo | undefined {
  const { schemaname, relname } = relation
  const named = [...sequences.values()].filter(
    (info) => info.name === relname && (schemaname === undefined || info.schemaName === schemaname),
  )
  return named.find(({ schemaName }) => schemaName === 'public') ?? named[0]
}

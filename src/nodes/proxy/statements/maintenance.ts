/** VACUUM, ANALYZE, CHECKPOINT, REINDEX, CLUSTER: PostgreSQL's words for flush, compaction and rebuilding. */
import { DatabaseError, SqlState } from '#base/errors.js'
import { checkPrivilege } from '#nodes/proxy/statements/check-privilege.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { resolveTable } from '#nodes/proxy/statements/resolve-table.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'
import type { TableInfo } from '#postgres/contract.js'

export async function checkpoint(execution: Execution): Promise<Result> {
  await execution.environment.streaming.flush(undefined, execution.context)
  return commandResult('CHECKPOINT')
}

export async function vacuum(execution: Execution): Promise<Result> {
  const { tree } = execution.parsed
  // ANALYZE: row counts are always exact here.
  if (tree['is_vacuumcmd'] !== true) {
    for (const table of tablesNamed(execution)) {
      const counts = execution.environment.tableCounters.of(table.oid)
      counts.lastAnalyzeMs = execution.environment.runtime.nowMs()
      counts.analyzeCount += 1
    }
    return commandResult('ANALYZE')
  }
  refuseInBlock(execution, 'VACUUM')
  const options = (tree['options'] ?? []) as readonly { readonly DefElem?: TreeNode }[]
  const full = isOn(options, 'full')
  const verbose = isOn(options, 'verbose')
  for (const table of tablesNamed(execution)) {
    if (table.kind !== 'table') continue
    await checkPrivilege(execution, table, 'MAINTAIN')
    await vacuumTable(execution, table, full, verbose)
    const counts = execution.environment.tableCounters.of(table.oid)
    counts.lastVacuumMs = execution.environment.runtime.nowMs()
    counts.vacuumCount += 1
  }
  return commandResult('VACUUM')
}

/** All tables when none is named. */
function tablesNamed(execution: Execution): readonly TableInfo[] {
  const { tree } = execution.parsed
  const relations = (tree['rels'] ?? []) as readonly { readonly VacuumRelation?: TreeNode }[]
  const named = relations.map((item) =>
    resolveTable(execution, (item.VacuumRelation?.['relation'] ?? {}) as TreeNode),
  )
  return named.length > 0 ? named : [...execution.catalog.tables.values()]
}

/** VACUUM FULL, VACUUM (FULL), VACUUM (FULL true | on | 1). */
function isOn(options: readonly { readonly DefElem?: TreeNode }[], name: string): boolean {
  const arg = options.findLast(({ DefElem: option }) => option?.['defname'] === name)?.DefElem
  if (arg === undefined) return false
  const [tag, value] = Object.entries((arg['arg'] ?? {}) as TreeNode)[0] ?? []
  const fields = (value ?? {}) as TreeNode
  if (tag === 'Integer') return Number(fields['ival'] ?? 0) !== 0
  if (tag === 'Boolean') return fields['boolval'] === true
  return tag === undefined || !['off', 'false'].includes(String(fields['sval']).toLowerCase())
}

async function vacuumTable(
  execution: Execution,
  table: TableInfo,
  full: boolean,
  verbose: boolean,
): Promise<void> {
  const { environment, context, memory, out } = execution
  const name = `${memory.database}.${table.schemaName}.${table.name}`
  const inform = (message: string): void => {
    if (verbose) out.notice({ severity: 'INFO', sqlState: '00000', message })
  }
  inform(`vacuuming "${name}"`)
  const scope = full ? 'now' : 'worthwhile'
  const report = await environment.streaming.compact(table.oid, context, scope)
  if (!verbose) return
  const { liveRows, deadRows, bytes, indexBytes, segments } =
    await environment.streaming.statistics(table.oid)
  const remaining = [...indexBytes.values()].reduce((sum, one) => sum + one, bytes)
  // PostgreSQL's words, with segments for its pages.
  inform(
    `finished vacuuming "${name}":\n` +
      `segments: ${report.mergedSegments} rewritten as ${report.writtenSegments}, ${segments.length} remain\n` +
      `tuples: ${report.removedRows} removed, ${liveRows} remain, ${deadRows} are dead but not yet removable\n` +
      `bytes: ${report.freedBytes} given back, ${remaining} remain`,
  )
}

export async function reindex(execution: Execution): Promise<Result> {
  refuseInBlock(execution, 'REINDEX')
  const { tree } = execution.parsed
  const relation = (tree['relation'] ?? {}) as TreeNode
  const isIndex = tree['kind'] === 'REINDEX_OBJECT_INDEX'
  const tables: readonly TableInfo[] =
    tree['relation'] === undefined
      ? [...execution.catalog.tables.values()]
      : isIndex
        ? tablesOfIndex(execution, String(relation['relname']))
        : [resolveTable(execution, relation)]
  for (const table of tables) {
    for (const index of table.vectorIndexes) {
      if (isIndex && index.name !== relation['relname']) continue
      const progress = execution.environment.progress.begin(
        'create index',
        execution.memory.processId,
        table,
        index,
      )
      try {
        await execution.environment.streaming.buildIndex(
          table.oid,
          index.indexOid,
          (done, total) => progress.update(done, total),
          execution.context,
          'all',
        )
      } finally {
        progress.end()
      }
    }
  }
  return commandResult('REINDEX')
}

function tablesOfIndex(execution: Execution, name: string): readonly TableInfo[] {
  const tables = [...execution.catalog.tables.values()].filter(
    (table) =>
      table.vectorIndexes.some((index) => index.name === name) ||
      table.keys.some((key) => key.name === name),
  )
  // Other index methods keep nothing that could be rebuilt.
  return tables
}

export function refuseInBlock(execution: Execution, command: string): void {
  if (execution.transaction.kind === 'explicit') {
    throw new DatabaseError(
      SqlState.activeSqlTransaction,
      `${command} cannot run inside a transaction block`,
    )
  }
}

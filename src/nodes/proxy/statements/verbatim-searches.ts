/** A statement parts of which want the nearest rows only: those are searched for, the other tables scanned. */
import { concatBatches, takeRows } from '#engine/columnar/batch.js'
import type { PreparedPlan, VerbatimPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import { limitsOf } from '#nodes/proxy/statements/limits.js'
import { type LoadedRows, loadTables } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { searchRows } from '#nodes/proxy/statements/search.js'
import { overRows, verbatim } from '#nodes/proxy/statements/verbatim.js'

export async function verbatimWithSearches(
  plan: VerbatimPlan,
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
): Promise<Result> {
  const everyScan = [...plan.scans, ...plan.searches.flatMap((part) => part.scans)]
  const isLocking = execution.parsed.tree['lockingClause'] !== undefined
  if (plan.searches.length === 0 || isLocking)
    return verbatim(everyScan, values, prepared, execution)
  // Which LIMIT belongs to which part is not said: as many rows as the largest wants are enough for each.
  const wanted = Math.max(
    ...plan.limits.map((limit) => {
      const { limit: count, offset } = limitsOf(limit, values)
      return count + offset
    }),
  )
  const readAt = await chooseReadTimestamp(execution)
  const found: LoadedRows[] = []
  for (const part of plan.searches) {
    const rows = await searchRows(part, values, wanted, readAt, execution)
    if (rows === undefined) return verbatim(everyScan, values, prepared, execution)
    found.push(...rows)
  }
  const scanned = await loadTables(execution, plan.scans, values, readAt)
  return overRows([...scanned, ...byTable(found)], prepared, execution)
}

/** Two parts may have found rows of the same table: each row once. */
function byTable(found: readonly LoadedRows[]): readonly LoadedRows[] {
  const tables = new Map<number, LoadedRows[]>()
  for (const rows of found)
    tables.set(rows.table.oid, [...(tables.get(rows.table.oid) ?? []), rows])
  return [...tables.values()].flatMap((group) => {
    const [first] = group
    if (first === undefined || group.length === 1) return group
    const seen = new Set<number>()
    const batches = group.flatMap((rows) => {
      // The transaction's own rows, which come after the stored ones, are the same in every part.
      const stored = rows.batches.slice(0, 1)
      const kept: number[] = []
      for (const [position, rowId] of rows.rowIds.entries()) {
        if (seen.has(rowId)) continue
        seen.add(rowId)
        kept.push(position)
      }
      return stored.map((batch) => takeRows(batch, Uint32Array.from(kept)))
    })
    const own = first.batches.slice(1)
    const filled = batches.filter((batch) => batch.rowCount > 0)
    const all = [...(filled.length === 0 ? [] : [concatBatches(filled)]), ...own]
    return [
      {
        ...first,
        rowIds: Float64Array.from(seen),
        batches: all,
        rowCount: all.reduce((sum, batch) => sum + batch.rowCount, 0),
      },
    ]
  })
}

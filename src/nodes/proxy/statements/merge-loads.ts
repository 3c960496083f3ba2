/** Rows of a table that are loaded in several steps, as an upsert finds what it conflicts with. */
import { takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { LoadedRows } from '#nodes/proxy/statements/read-rows.js'

/** Adds rows to what a table has loaded already, without loading one twice. */
export function mergeLoads(rows: readonly LoadedRows[], more: readonly LoadedRows[]): LoadedRows[] {
  const merged = [...rows]
  for (const extra of more) {
    const at = merged.findIndex((entry) => entry.table.oid === extra.table.oid)
    const old = merged[at]
    if (old === undefined) merged.push(extra)
    else merged[at] = joinLoads(old, extra)
  }
  return merged
}

/** Stored rows come first and own rows last in both; own rows are the same in both. */
function joinLoads(old: LoadedRows, extra: LoadedRows): LoadedRows {
  const oldStored = storedBatchCount(old)
  const extraStored = storedBatchCount(extra)
  const fresh = withoutRows(extra, extraStored, new Set(old.rowIds))
  const batches = [
    ...old.batches.slice(0, oldStored),
    ...fresh.batches,
    ...extra.batches.slice(extraStored),
  ]
  return {
    ...old,
    rowIds: new Float64Array([...old.rowIds, ...fresh.rowIds]),
    batches,
    rowCount: batches.reduce((sum, batch) => sum + batch.rowCount, 0),
  }
}

function storedBatchCount(rows: LoadedRows): number {
  let count = 0
  let seen = 0
  while (seen < rows.rowIds.length && count < rows.batches.length) {
    seen += rows.batches[count]?.rowCount ?? 0
    count += 1
  }
  return count
}

function withoutRows(
  rows: LoadedRows,
  storedCount: number,
  known: ReadonlySet<number>,
): { readonly rowIds: readonly number[]; readonly batches: readonly ColumnBatch[] } {
  const rowIds: number[] = []
  const batches: ColumnBatch[] = []
  let first = 0
  for (const batch of rows.batches.slice(0, storedCount)) {
    const ids = rows.rowIds.subarray(first, first + batch.rowCount)
    first += batch.rowCount
    const kept = Uint32Array.from(ids.keys()).filter((row) => !known.has(ids[row] ?? -1))
    for (const row of kept) rowIds.push(ids[row] ?? -1)
    if (kept.length === batch.rowCount) batches.push(batch)
    else if (kept.length > 0) batches.push(takeRows(batch, kept))
  }
  return { rowIds, batches }
}

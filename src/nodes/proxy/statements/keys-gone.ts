/**
 * Whether rows of other tables may refer to something that is not there any more: a row that was referred to is gone, or has another key.
 * Only then referential actions (ON DELETE CASCADE …) have anything to do, and need the referring rows.
 */
import { concatBatches } from '#engine/columnar/batch.js'
import type { Column } from '#engine/columnar/column.js'
import { encodeKey } from '#engine/columnar/key.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import { type LoadedRows, storedColumns } from '#nodes/proxy/statements/read-rows.js'

/** @param rows those that the changes' positions count; without columns nothing is known of them, and the answer is yes */
export function areKeysGone(
  changes: readonly CapturedChange[],
  rows: readonly LoadedRows[],
): boolean {
  return changes.some((change) => {
    if (change.removed.length === 0 || change.table.referencedBy.length === 0) return false
    const loaded = rows.find(({ table }) => table.oid === change.table.oid)
    return change.table.keys.some(({ attnums }) => isGone(change, loaded, attnums))
  })
}

function isGone(
  { table, removed, inserted }: CapturedChange,
  loaded: LoadedRows | undefined,
  attnums: readonly number[],
): boolean {
  const types = attnums.map(
    (attnum) => table.columns.find((column) => column.attnum === attnum)?.typeName ?? '',
  )
  const stored = storedColumns(table).map((column) => column.attnum)
  const before = pick(columnsOf(loaded), loaded?.attnums ?? [], attnums)
  const after = pick(inserted.columns, stored, attnums)
  if (before === undefined) return true
  const present = new Set<string>()
  for (let row = 0; row < inserted.rowCount; row += 1)
    if (after !== undefined) present.add(encodeKey(after, row, types))
  return removed.some((row) => !present.has(encodeKey(before, row, types)))
}

function columnsOf(loaded: LoadedRows | undefined): readonly Column[] {
  return loaded === undefined || loaded.batches.length === 0
    ? []
    : concatBatches(loaded.batches).columns
}

function pick(
  columns: readonly Column[],
  of: readonly number[],
  attnums: readonly number[],
): readonly Column[] | undefined {
  const picked = attnums.map((attnum) => columns[of.indexOf(attnum)])
  return picked.every((column) => column !== undefined) ? picked : undefined
}

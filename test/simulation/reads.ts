/** Reads: all rows at one timestamp, searches; judged by the model and by what always holds. */
import type { Timestamp } from '#base/timestamp.js'
import type { SeenRow } from './model.js'
import { distanceOf, nearestOf, type Session } from './session.js'
import { accountsId, childrenId, namesId, notesId, parentsId } from './tables.js'
import { accountCount, bankTotal } from './workload.js'

/** Everything at one timestamp, and again: the same. */
export async function look(session: Session): Promise<void> {
  const readAt = await session.strongTimestamp()
  const tableIds = allTables(session)
  const tables = await session.snapshot(tableIds, readAt)
  checkSnapshot(session, tables, readAt)
  if (!session.random.chance(0.4)) return
  await session.process.runtime.sleep(session.random.below(60))
  const again = await session.snapshot(tableIds, readAt)
  checkSnapshot(session, again, readAt)
  session.world.count('snapshot read again')
}

function allTables({ catalog }: Session): readonly number[] {
  return [accountsId, namesId, parentsId, childrenId, notesId, catalog.draftsId]
}

export function checkSnapshot(
  session: Session,
  tables: ReadonlyMap<number, readonly SeenRow[]>,
  readAt: Timestamp,
): void {
  const { world } = session
  const rowsOf = (tableId: number): readonly SeenRow[] => tables.get(tableId) ?? []
  for (const [tableId, rows] of tables) {
    checkUnique(
      session,
      tableId,
      'id',
      rows.map(({ id }) => id),
      readAt,
    )
    checkUnique(
      session,
      tableId,
      'row id',
      rows.map(({ rowId }) => rowId),
      readAt,
    )
  }
  for (const tableId of [namesId, session.catalog.draftsId]) {
    checkUnique(
      session,
      tableId,
      'value',
      rowsOf(tableId).map(({ value }) => value),
      readAt,
    )
  }
  const parents = new Set(rowsOf(parentsId).map(({ id }) => id))
  for (const { id, value } of rowsOf(childrenId)) {
    if (!parents.has(value))
      world.violate('FK-1', `${session.name} at ${readAt}: child ${id} has no parent ${value}`)
  }
  const accounts = rowsOf(accountsId)
  const total = accounts.reduce((sum, { value }) => sum + value, 0)
  if (accounts.length > 0 && (total !== bankTotal || accounts.length !== accountCount)) {
    world.violate(
      'BANK-1',
      `${session.name} at ${readAt}: ${accounts.length} accounts with ${total} in all, not ${bankTotal}`,
    )
  }
}

function checkUnique(
  session: Session,
  tableId: number,
  what: string,
  values: readonly number[],
  readAt: Timestamp,
): void {
  if (new Set(values).size === values.length) return
  const twice = values.find((value, i) => values.indexOf(value) !== i)
  session.world.violate(
    what === 'row id' ? 'SEG-2' : 'KEY-1',
    `${session.name} at ${readAt}: ${what} ${twice} is twice in table ${tableId}`,
  )
}

/** The nearest rows are those of a plain loop over all rows at the same timestamp. */
export async function search(session: Session): Promise<void> {
  const { random } = session
  const tableId = random.pick([accountsId, notesId])
  const readAt = await session.strongTimestamp()
  const at = Float32Array.of(random.below(100), random.below(100))
  const k = 1 + random.below(6)
  const [tables, found] = await Promise.all([
    session.snapshot([tableId], readAt),
    session.nearest(tableId, at, k, readAt),
  ])
  const rows = tables.get(tableId) ?? []
  const expected = nearestOf(rows, at, k)
  session.world.count('search checked')
  const distances = (tags: readonly number[]): string =>
    tags
      .map((tag) => {
        const row = rows.find((candidate) => candidate.tag === tag)
        return row === undefined ? `not there (tag ${tag})` : distanceOf(row, at).toFixed(3)
      })
      .join(' ')
  const [wanted, got] = [distances(expected), distances(found.map(({ tag }) => tag))]
  if (wanted !== got) {
    session.world.violate(
      'TOPK-1',
      `${session.name} at ${readAt}: nearest in ${tableId} are ${wanted}, not ${got}`,
    )
  }
}

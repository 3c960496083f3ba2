/** Reads: all rows at one timestamp, searches; judged by the model and by what always holds. */
import type { Timestamp } from '#base/timestamp.js'
import type { FilterNode } from '#engine/plan/filter.js'
import type { SeenRow } from './model.js'
import { distanceOf, nearestOf, type Session } from './session.js'
import {
  accountsId,
  attnumOf,
  childrenId,
  draftsTimeToLiveMs,
  namesId,
  notesId,
  parentsId,
  timeAt,
} from './tables.js'
import { accountCount, bankTotal } from './workload.js'

/** Everything at one timestamp, and again, perhaps much later: the same. */
export async function look(session: Session): Promise<void> {
  const { random, world } = session
  const past = random.chance(0.3) ? session.model.pastRead(random) : undefined
  const readAt = past ?? (await session.strongTimestamp())
  const tableIds = past === undefined ? allTables(session) : lastingTables
  const tables = await session.snapshot(tableIds, readAt)
  checkSnapshot(session, tables, readAt)
  if (past !== undefined) {
    world.count('snapshot of the past')
    return
  }
  session.model.notePastRead(readAt)
  if (!random.chance(0.4)) return
  await session.process.runtime.sleep(random.below(60))
  const again = await session.snapshot(tableIds, readAt)
  checkSnapshot(session, again, readAt)
  world.count('snapshot read again')
}

const lastingTables = [accountsId, namesId, parentsId, childrenId, notesId]

function allTables({ catalog }: Session): readonly number[] {
  return [...lastingTables, catalog.draftsId]
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

/** The nearest rows, all or some, are those of a plain loop over all rows at the same timestamp; counts and sums are, too. */
export async function search(session: Session): Promise<void> {
  const { random, world } = session
  const tableId = random.pick([accountsId, notesId, session.catalog.draftsId])
  const readAt = await session.strongTimestamp()
  const at = Float32Array.of(random.below(100), random.below(100))
  const k = 1 + random.below(6)
  const below = random.chance(0.5) ? undefined : someValue(session, tableId, readAt)
  const filter = below === undefined ? undefined : valueBelow(below)
  const [tables, found, total] = await Promise.all([
    session.snapshot([tableId], readAt),
    session.nearest({ tableId, at, k, readAt, filter }),
    session.total({ tableId, readAt, filter }),
  ])
  const all = tables.get(tableId) ?? []
  const rows = below === undefined ? all : all.filter(({ value }) => value < below)
  const expected = nearestOf(rows, at, k)
  world.count('search checked')
  if (filter !== undefined) world.count('filtered search checked')
  const distances = (tags: readonly number[]): string =>
    tags
      .map((tag) => {
        const row = rows.find((candidate) => candidate.tag === tag)
        return row === undefined ? `not there (tag ${tag})` : distanceOf(row, at).toFixed(3)
      })
      .join(' ')
  const condition = below === undefined ? '' : ` with values below ${below}`
  const [wanted, got] = [distances(expected), distances(found.map(({ tag }) => tag))]
  if (wanted !== got) {
    world.violate(
      'TOPK-1',
      `${session.name} at ${readAt}: nearest in ${tableId}${condition} are ${wanted}, not ${got}`,
    )
  }
  const sum = rows.reduce((before, { value }) => before + BigInt(value), 0n)
  if (total.count !== rows.length || total.sum !== sum) {
    world.violate(
      'VIEW-1',
      `${session.name} at ${readAt}: ${rows.length} rows in ${tableId}${condition} with ${sum} in all, counted were ${total.count} with ${total.sum}`,
    )
  }
}

function valueBelow(value: number): FilterNode {
  return {
    op: 'compare',
    attnum: attnumOf.value,
    comparison: '<',
    as: 'native',
    value: BigInt(value),
  }
}

function someValue({ random, catalog }: Session, tableId: number, readAt: Timestamp): number {
  if (tableId === catalog.draftsId)
    return timeAt(readAt, random.below(draftsTimeToLiveMs * 2) - draftsTimeToLiveMs)
  return random.below(tableId === accountsId ? 200 : 1000)
}

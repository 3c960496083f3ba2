/** Deletes that the log brings again of rows that a segment has left out are not counted (SEG-10): what keeps the log differs. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { CompactionScope } from '#nodes/streaming/contract.js'
import {
  batchOf,
  context,
  docs,
  insert,
  tableId,
  World,
} from '#nodes/streaming/streaming.testing.js'

const docsOf = (...ids: readonly number[]) => ids.map((id) => ({ id, name: `row ${id}` }))

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.open()
  await world.node.putTable(docs)
})
afterEach(() => world.close())

async function seen(): Promise<readonly [live: number, dead: number, ids: readonly number[]]> {
  const { liveRows, deadRows } = await world.node.statistics(tableId)
  return [liveRows, deadRows, await world.ids()]
}

async function afterCrash(): ReturnType<typeof seen> {
  world.crash()
  await world.open()
  return await seen()
}

async function deleteRows(...ids: readonly number[]): Promise<void> {
  await world.commit({ deletes: await world.rowIdsOf(...ids) })
}

/** A COPY that is open has its row in a segment of its own, which stays; the rest is sealed. */
async function beginCopy() {
  const copy = await world.node.stage(tableId, 0)
  await copy.append(batchOf(docsOf(100)))
  await world.node.flush(tableId, context)
  return copy
}

test.each<CompactionScope>(['all', 'now'])(
  'a merge beside an open COPY, scope %s',
  async (scope) => {
    await beginCopy()
    await world.commit(insert(...docsOf(1, 2, 3, 4, 5, 6)))
    await world.node.flush(tableId, context)
    await deleteRows(2, 3)
    if (scope === 'all') world.clockMs += 120_000
    const { removedRows } = await world.node.compact(tableId, context, scope)
    expect(removedRows).toBe(2)
    await deleteRows(6)
    expect(await seen()).toEqual([3, 2, [1, 4, 5]])
    // The row of the COPY lies dead in memory until its segment is sealed.
    expect(await afterCrash()).toEqual([3, 2, [1, 4, 5]])
    await world.node.flush(undefined, context)
    expect(await afterCrash()).toEqual([3, 1, [1, 4, 5]])
  },
)

test('what was deleted after a transaction that nobody has decided about stays until it is decided', async () => {
  await world.commit(insert(...docsOf(1, 2, 3, 4, 5, 6)))
  await world.node.flush(tableId, context)
  const id = 'log-1/1/1'
  const write = {
    tableId,
    shard: 0,
    truncate: false,
    deletes: await world.rowIdsOf(1),
    inserts: [],
  }
  const part = { writes: [write], staged: [], references: [], readAt: world.node.serviceTime() }
  await world.node.prepare(id, part, context)
  const rows = await world.rows(part.readAt)
  const deletes = Float64Array.from(
    rows.filter((row) => row.id === 2 || row.id === 3).map(({ rowId }) => rowId),
  )
  await world.commit({ deletes }, { readAt: part.readAt })
  world.clockMs += 120_000
  expect(await world.node.compact(tableId, context)).toMatchObject({ removedRows: 0 })
  const counted = async () => {
    const { liveRows, deadRows } = await world.node.statistics(tableId)
    return [liveRows, deadRows]
  }
  expect(await counted()).toEqual([4, 2])
  world.crash()
  await world.open()
  expect(await counted()).toEqual([4, 2])
  await world.node.finish(id, await world.coordinator.timestamp())
  expect(await seen()).toEqual([3, 3, [4, 5, 6]])
  expect(await world.node.compact(tableId, context, 'now')).toMatchObject({ removedRows: 3 })
  expect(await afterCrash()).toEqual([3, 0, [4, 5, 6]])
})

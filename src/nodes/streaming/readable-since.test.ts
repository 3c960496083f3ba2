import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Timestamp } from '#base/timestamp.js'
import { context, docs, insert, tableId, World } from '#nodes/streaming/streaming.testing.js'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.open()
  await world.node.putTable(docs)
})
afterEach(async () => {
  await world.close()
})

/** The node's clock says that the retention has passed; whoever reads has judged by another clock, or a moment ago. */
const passRetention = (): void => {
  world.clockMs += 61_000
}

/** Ten rows of which nine are deleted. */
async function deleteMost(): Promise<{ before: Timestamp; deletedAt: Timestamp }> {
  const ids = Array.from({ length: 10 }, (_, i) => i + 1)
  const before = await world.commit(insert(...ids.map((id) => ({ id, name: 'x' }))))
  const deletedAt = await world.commit({ deletes: await world.rowIdsOf(...ids.slice(1)) })
  return { before, deletedAt }
}

const ways: Readonly<Record<string, () => Promise<{ before: Timestamp; deletedAt: Timestamp }>>> = {
  async 'sealed without them'() {
    const times = await deleteMost()
    passRetention()
    await world.node.flush(undefined, context)
    return times
  },
  async 'not sealed, since no row is left'() {
    const before = await world.commit(insert({ id: 2, name: 'x' }))
    const deletedAt = await world.commit({ deletes: await world.rowIdsOf(2) })
    passRetention()
    await world.node.flush(undefined, context)
    await world.commit(insert({ id: 1, name: 'x' }))
    return { before, deletedAt }
  },
  async 'merged without them'() {
    const ids = Array.from({ length: 10 }, (_, i) => i + 1)
    const before = await world.commit(insert(...ids.map((id) => ({ id, name: 'x' }))))
    await world.node.flush(undefined, context)
    const deletedAt = await world.commit({ deletes: await world.rowIdsOf(...ids.slice(1)) })
    passRetention()
    await world.node.compact(tableId, context)
    return { before, deletedAt }
  },
  async 'truncated and struck'() {
    const before = await world.commit(insert({ id: 2, name: 'x' }))
    await world.node.flush(undefined, context)
    const deletedAt = await world.commit({ truncate: true, ...insert({ id: 1, name: 'x' }) })
    passRetention()
    await world.node.flush(undefined, context)
    await world.node.compact(tableId, context)
    return { before, deletedAt }
  },
}

for (const [how, drop] of Object.entries(ways)) {
  test(`a read from before rows were deleted is refused, not answered without them: ${how}`, async () => {
    const { before, deletedAt } = await drop()
    const refused = { sqlState: '72000', message: 'snapshot too old' }
    await expect(world.ids(before)).rejects.toMatchObject(refused)
    await expect(world.ids((deletedAt - 1) as Timestamp)).rejects.toMatchObject(refused)
    expect(await world.ids()).toEqual([1])
    world.crash()
    await world.open()
    await world.node.putTable(docs)
    // What the log still has is there again; otherwise it is refused.
    const again = await world.ids(before).catch((error: { sqlState?: string }) => error.sqlState)
    expect(again === '72000' || (Array.isArray(again) && again.includes(2))).toBe(true)
    expect(await world.ids()).toEqual([1])
  })
}

/** Deletes that come while segments are merged. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { context, docs, insert, tableId, World } from '#nodes/streaming/streaming.testing.js'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.close()
})

test('a delete that is written down for an input of a merge under way is not taken for written down with the merge', async () => {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let isMerging = false
  world.dataNodeSeen = (node) => ({
    ...node,
    async compact(...given) {
      isMerging = true
      await held
      return await node.compact(...given)
    },
  })
  await world.open()
  await world.node.putTable(docs)
  for (const ids of [
    [1, 2, 3],
    [4, 5, 6],
  ]) {
    await world.commit(insert(...ids.map((id) => ({ id, name: `doc ${id}` }))))
    await world.node.flush(tableId, context)
  }
  const merged = world.node.compact(tableId, context)
  await expect.poll(() => isMerging).toBe(true)
  await world.commit({ deletes: await world.rowIdsOf(2) })
  // Its delete goes into an object of the input, and the log need not keep it.
  await world.node.flush(undefined, context)
  release()
  await merged
  expect(await world.coordinator.segments()).toHaveLength(1)
  expect(await world.ids()).toEqual([1, 3, 4, 5, 6])
  await world.node.flush(undefined, context)
  await world.open()
  expect(await world.ids()).toEqual([1, 3, 4, 5, 6])
})

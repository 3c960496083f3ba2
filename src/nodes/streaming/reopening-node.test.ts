import { afterEach, beforeEach, expect, test } from 'vitest'
import { docs, insert, World } from '#nodes/streaming/streaming.testing.js'
import { noFault } from '#storage/faults.js'

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.open({}, 'reopening')
  await world.node.putTable(docs)
})
afterEach(async () => {
  await world.close()
})

for (const kind of ['lost', 'done-unknown'] as const) {
  test(`after ${kind} the node reads the log again and goes on`, async () => {
    await world.commit(insert({ id: 1, name: 'a' }))
    await world.node.flush(undefined, { signal: new AbortController().signal })
    await world.commit({ deletes: await world.rowIdsOf(1), ...insert({ id: 1, name: 'b' }) })
    world.walFaults = () => ({ ...noFault, kind })
    await expect(world.commit(insert({ id: 2, name: 'c' }))).rejects.toMatchObject({
      sqlState: '57P01',
    })
    world.walFaults = () => noFault
    await expect
      .poll(async () => (await world.rows().catch(() => [])).map(({ name }) => name))
      .toEqual(kind === 'lost' ? ['b'] : ['b', 'c'])
    await world.commit(insert({ id: 3, name: 'd' }))
    expect(await world.ids()).toEqual(kind === 'lost' ? [1, 3] : [1, 2, 3])
  })
}

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { context, docs, insert, tableId, World } from '#nodes/streaming/streaming.testing.js'
import { noFault, noFaults } from '#storage/faults.js'
import { MemoryObjects } from '#storage/objects/memory/memory-objects.js'

const orphanGraceMs = 60
const limits = { orphanGraceMs, backgroundIntervalMs: 5 }
const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, name: `doc ${from + i}` }))
const orphan = `tables/${tableId}/1/segments/9999/data-00000000.arrow`

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.open(limits)
  await world.node.putTable(docs)
})
afterEach(() => world.close())

/** Past the faults. */
function objects(): MemoryObjects {
  return new MemoryObjects(world.objects, { runtime: world.runtime })
}
async function names(): Promise<string[]> {
  const found: string[] = []
  for await (const { name } of objects().list('tables/')) found.push(name)
  return found
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('objects', () => {
  test('of merged segments go when nobody reads them, and no sooner', async () => {
    await world.commit(insert(...rows(0, 10)))
    await world.node.flush(tableId, context)
    const before = await names()
    await world.commit({ deletes: await world.rowIdsOf(1) })
    const readAt = world.node.serviceTime()
    const fragment = { tableId, shard: 0, readAt, output: [1] }
    const reader = world.node.scan(fragment, context)
    await reader.next()
    await world.node.compact(tableId, context, 'now')
    await world.node.runBackground()
    const during = await names()
    expect(during).toEqual(expect.arrayContaining(before))
    for await (const _ of reader);
    await world.node.runBackground()
    const after = await names()
    expect(after.filter((name) => before.includes(name))).toEqual([])
    expect(after.length).toBeGreaterThan(0)
    expect(await world.ids()).toHaveLength(9)
  })

  test('of a dropped table go', async () => {
    await world.commit(insert(...rows(0, 10)))
    await world.node.flush(tableId, context)
    await world.node.dropTable(tableId)
    await world.node.runBackground()
    expect(await names()).toEqual([])
  })

  test('that a crashed job left go after the grace, and what is named stays', async () => {
    await world.commit(insert(...rows(0, 10)))
    await world.node.flush(tableId, context)
    const named = await names()
    await objects().put(orphan, new Uint8Array(3))
    await world.node.runBackground()
    expect(await names()).toContain(orphan)
    await pause(2 * orphanGraceMs)
    await world.node.runBackground()
    await pause(orphanGraceMs)
    await world.node.runBackground()
    expect(await names()).toEqual(named)
    await world.node.stop()
    await world.open(limits)
    expect(await world.ids()).toHaveLength(10)
  })

  test('of deletes that were written down anew go, and segments that come back into memory do not ask for them', async () => {
    await world.node.stop()
    world.sealedBytes = 1
    await world.open(limits)
    await world.node.putTable(docs)
    await world.commit(insert(...rows(0, 10)))
    await world.node.flush(tableId, context)
    const deletes = async () => (await names()).filter((name) => name.includes('/deletes-'))
    await world.commit({ deletes: await world.rowIdsOf(1) })
    await world.node.flush(undefined, context)
    await world.node.stop()
    await world.open(limits)
    await world.node.putTable(docs)
    await world.commit({ deletes: await world.rowIdsOf(2) })
    await world.node.flush(undefined, context)
    const written = await deletes()
    expect(written).toHaveLength(2)
    await world.node.runBackground()
    await pause(2 * orphanGraceMs)
    await world.node.runBackground()
    expect(await deletes()).toHaveLength(1)
    expect(await world.ids()).toEqual([0, 3, 4, 5, 6, 7, 8, 9])
  })

  test('that cannot be removed for a while are removed later', async () => {
    await world.commit(insert(...rows(0, 10)))
    await world.node.flush(tableId, context)
    await world.commit({ deletes: await world.rowIdsOf(1) })
    const before = await names()
    world.objectFaults = (operation) =>
      operation === 'objects.delete' ? { ...noFault, kind: 'refused' } : noFault
    await expect(world.node.compact(tableId, context, 'now')).rejects.toThrow(StoreError)
    expect(await world.ids()).toHaveLength(9)
    world.objectFaults = noFaults
    await world.node.runBackground()
    expect((await names()).filter((name) => before.includes(name))).toEqual([])
  })
})

describe('an object store that fails or is full for a while', () => {
  test('delays flushing and merging, and loses nothing', async () => {
    await world.commit(insert(...rows(0, 50)))
    world.objectFaults = () => ({ ...noFault, kind: 'done-unknown' })
    await expect(world.node.flush(tableId, context)).rejects.toThrow(StoreError)
    await world.commit(insert(...rows(50, 80)))
    await world.commit({ deletes: await world.rowIdsOf(3) })
    expect(await world.ids()).toHaveLength(79)
    world.objectFaults = noFaults
    await world.node.flush(tableId, context)
    world.objectFaults = (operation) =>
      operation.startsWith('objects.put') ? { ...noFault, kind: 'refused' } : noFault
    await expect(world.node.compact(tableId, context)).rejects.toThrow(StoreError)
    expect(await world.ids()).toHaveLength(79)
    world.objectFaults = noFaults
    await world.node.compact(tableId, context)
    await world.node.stop()
    await world.open(limits)
    expect(await world.ids()).toHaveLength(79)
  })
})

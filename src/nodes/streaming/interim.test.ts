import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  context,
  docs,
  insert,
  tableId,
  vectorIndexOid,
  vectorOf,
  World,
} from '#nodes/streaming/streaming.testing.js'

const index = {
  indexOid: vectorIndexOid,
  name: 'docs_embedding_idx',
  attnum: 3,
  metric: 'l2' as const,
  m: 8,
  efConstruction: 40,
}
const schema = { ...docs, vectorIndexes: [index] }
const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({ id: from + i, name: `doc ${from + i}` }))

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(() => world.close())

async function nearest(id: number, k = 1) {
  const fragment = {
    tableId,
    shard: 0,
    readAt: world.node.serviceTime(),
    attnum: 3,
    metric: 'l2' as const,
    query: vectorOf(id),
    k,
    efSearch: 40,
    mode: 'auto' as const,
    output: [1],
  }
  return await world.node.search(fragment, context)
}

describe('a growing segment with a vector index', () => {
  test('is handed over with its index: nothing is built a second time', async () => {
    await world.open({ interimBytesMin: 0 })
    await world.node.putTable(schema)
    await world.commit(insert(...rows(0, 300)))
    await world.node.runBackground()
    await world.commit(insert(...rows(300, 400)))
    await world.node.flush(tableId, context)
    const { segments } = await world.node.statistics(tableId)
    expect(segments).toMatchObject([{ stage: 'indexed', rowCount: 400 }])
    for (const id of [0, 17, 399]) {
      expect([...(await nearest(id)).rowIds]).toEqual([...(await world.rowIdsOf(id))])
    }
    await world.node.stop()
    await world.open({ interimBytesMin: 0 })
    expect((await world.node.statistics(tableId)).segments).toMatchObject([{ stage: 'indexed' }])
    expect([...(await nearest(399)).rowIds]).toEqual([...(await world.rowIdsOf(399))])
  })

  test('whose rows fall away at the hand-over has its index built before', async () => {
    await world.open({ interimBytesMin: 0 })
    await world.node.putTable(schema)
    await world.commit(insert(...rows(0, 300)))
    await world.node.runBackground()
    await world.commit({ deletes: await world.rowIdsOf(...rows(0, 200).map(({ id }) => id)) })
    world.clockMs += 120_000
    await world.node.flush(tableId, context)
    const { segments } = await world.node.statistics(tableId)
    expect(segments).toMatchObject([{ stage: 'indexed', rowCount: 100, deletedCount: 0 }])
    expect([...(await nearest(250)).rowIds]).toEqual([...(await world.rowIdsOf(250))])
  })

  test('has none while it is small, and loses it with the index', async () => {
    await world.open({ interimBytesMin: 300 * 16 })
    await world.node.putTable(schema)
    await world.commit(insert(...rows(0, 200)))
    await world.node.runBackground()
    await world.node.flush(tableId, context)
    expect((await world.node.statistics(tableId)).segments).toMatchObject([{ stage: 'flushed' }])
    await world.commit(insert(...rows(200, 600)))
    await world.node.runBackground()
    await world.node.putTable({ ...schema, version: 2, vectorIndexes: [] })
    expect([...(await nearest(250)).rowIds]).toEqual([...(await world.rowIdsOf(250))])
    await world.node.flush(tableId, context)
    const { segments } = await world.node.statistics(tableId)
    expect(segments.map(({ stage }) => stage)).toEqual(['indexed', 'flushed'])
  })
})

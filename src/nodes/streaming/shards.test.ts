import { afterEach, describe, expect, test } from 'vitest'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import {
  batchOf,
  context,
  docs,
  nameKeyOid,
  noRows,
  primaryKey,
  tableId,
  World,
} from '#nodes/streaming/streaming.testing.js'

const nameKey: KeyConstraint = {
  name: 'docs_name_key',
  indexOid: nameKeyOid,
  attnums: [2],
  primary: false,
  nullsNotDistinct: false,
}
const sharded: TableSchema = { ...docs, keys: [primaryKey, nameKey], shardCount: 4 }

let world: World
afterEach(() => world.close())

const write = (shard: number, id: number, name: string | null) => ({
  tableId,
  shard,
  truncate: false,
  deletes: noRows,
  inserts: [batchOf([{ id, name }])],
})

describe('a table of several shards in one node', () => {
  test('a key without the primary key is unique over all shards, growing and sealed', async () => {
    world = await World.create()
    const node = await world.open()
    await node.putTable(sharded)
    await world.commit(write(0, 1, 'a'))
    await expect(world.commit(write(3, 2, 'a'))).rejects.toMatchObject({ sqlState: '23505' })
    await node.flush(tableId, context)
    await expect(world.commit(write(3, 2, 'a'))).rejects.toMatchObject({ sqlState: '23505' })
    const twins = { writes: [write(1, 3, 'b'), write(2, 4, 'b')] }
    await expect(world.commit({}, twins)).rejects.toMatchObject({ sqlState: '23505' })
    await world.commit({}, { writes: [write(1, 3, 'b'), write(2, 4, 'c'), write(3, 5, null)] })
    const conflict = await node.findConflict(write(2, 9, 'a'), context)
    expect(conflict).toMatchObject({ indexOid: nameKeyOid, row: 0 })
  })

  test('two commits at once bring one key to two shards: one has it', async () => {
    world = await World.create()
    await (await world.open()).putTable(sharded)
    const outcomes = await Promise.allSettled([
      world.commit(write(0, 1, 'a')),
      world.commit(write(1, 2, 'a')),
    ])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  test('a row moves to another shard with its key', async () => {
    world = await World.create()
    const node = await world.open()
    await node.putTable(sharded)
    await world.commit(write(0, 1, 'a'))
    const deletes = await world.rowIdsOf(1)
    await world.commit(
      {},
      {
        writes: [
          { ...write(2, 1, 'a'), shard: 2 },
          { ...write(0, 1, 'a'), inserts: [], deletes },
        ],
      },
    )
    await expect(world.commit(write(1, 2, 'a'))).rejects.toMatchObject({ sqlState: '23505' })
  })

  test('COPY into two shards with one key is refused', async () => {
    world = await World.create()
    const node = await world.open()
    await node.putTable(sharded)
    const copies = [await node.stage(tableId, 0), await node.stage(tableId, 1)]
    await copies[0]?.append(batchOf([{ id: 1, name: 'a' }]))
    await copies[1]?.append(batchOf([{ id: 2, name: 'a' }]))
    const request = { writes: [], staged: copies }
    await expect(world.commit({}, request)).rejects.toMatchObject({ sqlState: '23505' })
  })
})

test('a node keeps the shards of its log channel only', async () => {
  world = await World.create()
  const [own, other] = [0, 1].map((log) =>
    [0, 1, 2, 3].filter((shard) => logChannelOf(tableId, shard, 2) === `log-${log}`),
  )
  const node = await world.open({}, 'stays failed', 2)
  await node.putTable(sharded)
  // As a proxy that knows the unique key says.
  const keysElsewhere = sharded.keys.map(({ indexOid }) => indexOid)
  for (const shard of own ?? []) {
    await world.commit({ ...write(shard, shard, `n${shard}`), keysElsewhere })
  }
  for (const shard of other ?? []) {
    await expect(world.commit(write(shard, 9, 'x'))).rejects.toMatchObject({ sqlState: '55000' })
  }
  await node.flush(undefined, context)
  world.crash()
  const again = await world.open({}, 'stays failed', 2)
  const { liveRows } = await again.statistics(tableId)
  expect(liveRows).toBe(own?.length)
  // Another owner's segments are left alone.
  const segments = await world.coordinator.segments()
  world.crash()
  const stranger = await world.open({}, 'stays failed', 2, 'log-1')
  expect((await stranger.statistics(tableId)).liveRows).toBe(0)
  expect(await world.coordinator.segments()).toEqual(segments)
})

describe('a table of a CREATE TABLE that was cut short', () => {
  const again = (version: number, shardCount: number) => ({ ...sharded, version, shardCount })

  test('is another when its OID is given again, with another number of shards', async () => {
    world = await World.create()
    const node = await world.open()
    await node.putTable(again(1, 4))
    await node.putTable(again(2, 2))
    await world.commit(write(1, 1, 'a'))
    await expect(world.commit(write(3, 2, 'b'))).rejects.toThrow('no shard 3')
    await node.stop()
    const next = await world.open()
    await next.flush(tableId, context)
    expect((await next.statistics(tableId)).liveRows).toBe(1)
  })

  test('is not taken for one when it has had a row, or what comes is older', async () => {
    world = await World.create()
    const node = await world.open()
    await node.putTable(again(3, 4))
    await expect(node.putTable(again(2, 2))).rejects.toThrow('SHARD-1')
    await world.commit(write(3, 1, 'a'))
    await expect(node.putTable(again(4, 2))).rejects.toThrow('SHARD-1')
    expect((await node.statistics(tableId)).liveRows).toBe(1)
  })
})

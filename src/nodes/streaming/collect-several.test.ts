/** Garbage with several owners: whoever is late, nothing that a manifest names is removed. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { SegmentChange } from '#nodes/coordinator/contract.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import { context, docs, insert, tableId } from '#nodes/streaming/streaming.testing.js'
import { forgetTable } from '#nodes/streaming/table-settings.js'

const schema = { ...docs, shardCount: 2 }
const shard = [0, 1].find((one) => (tableId + one) % 2 === 1) ?? 0
const rows = Array.from({ length: 20 }, (_, i) => ({ id: i, name: `doc ${i}` }))

let cluster: Cluster
let release: () => void
let isHeld = false
beforeEach(async () => {
  cluster = await Cluster.create(2, 'remote')
  // A job that is suspended between its objects and its record.
  const { switchSegments } = cluster.coordinator
  isHeld = false
  const opened = new Promise<void>((resolve) => {
    release = resolve
  })
  Object.assign(cluster.coordinator, {
    async switchSegments(change: SegmentChange) {
      if (isHeld && change.add.length > 0) await opened
      await switchSegments(change)
    },
  })
  await cluster.openAll({ orphanGraceMs: 0 })
  for (const name of cluster.logChannels) await cluster.node(name).putTable(schema)
  const { inserts } = insert(...rows)
  await cluster
    .node('log-1')
    .commit(request([{ shard, ...(inserts === undefined ? {} : { inserts }) }]), context)
})
afterEach(async () => {
  release()
  await cluster.close()
})

async function ids(): Promise<readonly number[]> {
  const readAt = await cluster.coordinator.timestamp()
  return (await cluster.rows(readAt, [shard])).map(({ id }) => Number(id)).sort((a, b) => a - b)
}

async function collectTwice(): Promise<void> {
  const collector = cluster.members.get('log-0')
  await collector?.node.runBackground()
  await new Promise((resolve) => setTimeout(resolve, 5))
  await collector?.node.runBackground()
}

test('OBJ-1: what another owner wrote so long ago that it was collected is not recorded, but written again', async () => {
  isHeld = true
  const flushing = cluster.node('log-1').flush(tableId, context)
  const failed = expect(flushing).rejects.toThrow('was taken for garbage')
  await new Promise((resolve) => setTimeout(resolve, 200))
  await collectTwice()
  release()
  await failed
  expect(await ids()).toHaveLength(20)
  isHeld = false
  await cluster.node('log-1').flush(tableId, context)
  await collectTwice()
  expect(await ids()).toHaveLength(20)
  // The log has let go of them: objects are all there is.
  await cluster.members.get('log-1')?.stop()
  await cluster.open('log-1')
  expect(await ids()).toHaveLength(20)
})

test('OBJ-1: an owner that opens strikes its own segments of a table that is gone, not those of an owner that has not heard of it', async () => {
  const shards = [0, 1]
  for (const one of shards) {
    const { inserts } = insert({ id: 100 + one, name: `of shard ${one}` })
    const write = { shard: one, ...(inserts === undefined ? {} : { inserts }) }
    await cluster.node(cluster.ownerOf(one)).commit(request([write]), context)
    await cluster.node(cluster.ownerOf(one)).flush(tableId, context)
  }
  const recorded = async () => (await cluster.coordinator.segments()).map((one) => one.shard)
  expect(new Set(await recorded())).toEqual(new Set(shards))
  await forgetTable(cluster.coordinator, tableId)
  const reopen = async (logChannel: string): Promise<void> => {
    await cluster.members.get(logChannel)?.stop()
    await cluster.open(logChannel)
  }
  await reopen('log-0')
  expect(new Set(await recorded())).toEqual(new Set([shard]))
  await reopen('log-1')
  expect(await recorded()).toEqual([])
})

/** What is on record of a table goes when it is dropped, whatever happens meanwhile. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import type { SegmentChange } from '#nodes/coordinator/contract.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import { context, docs, insert, tableId } from '#nodes/streaming/streaming.testing.js'

let cluster: Cluster
/** Instead of recording the change. */
let instead: ((change: SegmentChange, record: () => Promise<void>) => Promise<void>) | undefined

beforeEach(async () => {
  cluster = await Cluster.create(1, 'remote')
  instead = undefined
  const { switchSegments } = cluster.coordinator
  Object.assign(cluster.coordinator, {
    async switchSegments(change: SegmentChange) {
      const record = () => switchSegments(change)
      await (instead === undefined ? record() : instead(change, record))
    },
  })
  await cluster.open('log-0', { retentionMs: 0 })
  await cluster.node('log-0').putTable(docs)
})
afterEach(async () => {
  await cluster.close()
})

async function flushed(id: number): Promise<void> {
  const { inserts } = insert({ id, name: `doc ${id}` })
  const write = { shard: 0, ...(inserts === undefined ? {} : { inserts }) }
  await cluster.node('log-0').commit(request([write]), context)
  await cluster.node('log-0').flush(tableId, context)
}

async function onRecord(): Promise<readonly unknown[]> {
  const checkpoints = await cluster.coordinator.checkpoints()
  const names = [...checkpoints.keys()].filter((name) => name.includes(`/${tableId}/`))
  return [...(await cluster.coordinator.segments()), ...names]
}

test('a segment that was merged while its table was dropped does not stay on record', async () => {
  await flushed(1)
  await flushed(2)
  let dropping: Promise<void> | undefined
  instead = async ({ add, remove }, record) => {
    if (add.length === 1 && remove.length === 2) {
      instead = undefined
      dropping = cluster.node('log-0').dropTable(tableId)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await record()
  }
  await cluster
    .node('log-0')
    .compact(tableId, context)
    .catch(() => {})
  expect(dropping).toBeDefined()
  await dropping
  expect(await onRecord()).toEqual([])
})

test.each(['the drop again', 'the background'])(
  'a drop that could not be recorded is made good by %s',
  async (by) => {
    await flushed(1)
    instead = async () => {
      throw new StoreError('determinate', 'refused')
    }
    const { node } = cluster.members.get('log-0') ?? {}
    await expect(node?.dropTable(tableId)).rejects.toThrow('refused')
    instead = undefined
    expect(await onRecord()).not.toEqual([])
    if (by === 'the background') await node?.runBackground()
    else await node?.dropTable(tableId)
    expect(await onRecord()).toEqual([])
  },
)

test('a flush that was recorded without an answer goes with its table', async () => {
  instead = async (_, record) => {
    await record()
    throw new StoreError('indeterminate', 'no answer')
  }
  await expect(flushed(1)).rejects.toThrow('no answer')
  instead = undefined
  await cluster.node('log-0').dropTable(tableId)
  expect(await onRecord()).toEqual([])
})

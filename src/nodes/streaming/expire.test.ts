import { expect, test } from 'vitest'
import type { TableSchema } from '#engine/columnar/schema.js'
import { Cluster, request } from '#nodes/streaming/cluster.testing.js'
import { batchOf, context, docs, tableId } from '#nodes/streaming/streaming.testing.js'

const epochMs2000 = Date.UTC(2000, 0, 1)

test.each(['near', 'remote'] as const)(
  'what expires while nobody writes gives its key back, timestamps being %s',
  async (clock) => {
    const cluster = await Cluster.create(1, clock)
    await cluster.open('log-0')
    const node = cluster.node('log-0')
    const milliseconds = 200
    const table: TableSchema = { ...docs, timeToLive: { attnum: 1, milliseconds } }
    await node.putTable(table)
    // The primary key is the time that rows are counted from.
    const now = { id: (Date.now() - epochMs2000) * 1000, name: null }
    const insert = request([{ shard: 0, inserts: [batchOf([now])], keysElsewhere: [] }])
    await node.commit(insert, context)
    await expect(node.commit(insert, context)).rejects.toMatchObject({ sqlState: '23505' })
    await new Promise((resolve) => setTimeout(resolve, 2 * milliseconds))
    await cluster.members.get('log-0')?.node.runBackground()
    await node.commit(insert, context)
    const readAt = await cluster.coordinator.timestamp()
    expect(await cluster.rows(readAt, [0], tableId)).toEqual([])
    await cluster.close()
  },
)

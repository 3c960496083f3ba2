import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { timestampZero } from '#base/timestamp.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { openRpcClient, type RpcClient } from '#net/rpc/rpc-client.js'
import { openRpcServer, type RpcServer } from '#net/rpc/rpc-server.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { remoteCoordinator } from '#nodes/coordinator/remote.js'
import { serveCoordinator } from '#nodes/coordinator/serve.js'
import { remoteData } from '#nodes/data/remote.js'
import { serveData } from '#nodes/data/serve.js'
import { openPlacedQueryNodes } from '#nodes/query/placed-query-nodes.js'
import { remoteQuery } from '#nodes/query/remote.js'
import { serveQuery } from '#nodes/query/serve.js'
import { type RemoteStreamingNode, remoteStreaming } from '#nodes/streaming/remote.js'
import { serveStreaming } from '#nodes/streaming/serve.js'
import {
  batchOf,
  context,
  type Doc,
  docs,
  insert,
  tableId,
  vectorIndexOid,
  vectorOf,
  World,
} from '#nodes/streaming/streaming.testing.js'
import { MemoryMeta } from '#storage/meta/memory/memory-meta.js'

/** Every contract over 127.0.0.1: the client's to the streaming node, and the streaming node's to the others. */
let world: World
let server: RpcServer
let remote: RemoteStreamingNode
let clients: RpcClient[]
let owner: RpcClient | undefined
const served = new Map<string, ServedContract>()

function connect(): RpcClient {
  const address = `127.0.0.1:${server.port}`
  const client = openRpcClient({
    ...{ address, tls: undefined, runtime: systemRuntime },
    deadlineMs: 60_000,
  })
  clients.push(client)
  return client
}

beforeEach(async () => {
  served.clear()
  clients = []
  server = await openRpcServer({
    host: '127.0.0.1',
    port: 0,
    tls: undefined,
    runtime: systemRuntime,
    find: (contract, object) => served.get(`${contract} ${object}`),
  })
  world = await World.create()
  const meta = new MemoryMeta(world.meta, { runtime: world.runtime })
  const coordinator = await openCoordinator({ meta, runtime: world.runtime, leadership: 'elected' })
  served.set('coordinator ', serveCoordinator(coordinator))
  world.givenCoordinator = remoteCoordinator(connect())
  world.shared = true
  world.queryNodeSeen = (node) => {
    served.set('query life', serveQuery(node))
    const placed = openPlacedQueryNodes({ runtime: systemRuntime, replicaCount: 1 })
    placed.putNode('q', remoteQuery(connect(), 'life'))
    return placed
  }
  world.dataNodeSeen = (node) => {
    served.set('data ', serveData(node))
    return remoteData(connect())
  }
  const local = await world.open()
  served.set('streaming log-0', serveStreaming(local))
  owner = connect()
  remote = remoteStreaming({ logChannel: 'log-0', find: () => owner })
  world.node = { ...local, ...remote, serviceTime: () => local.serviceTime() }
  await remote.putTable(docs)
})

afterEach(async () => {
  await world.close()
  for (const client of clients) client.close()
  await server.stop(500)
})

function doc(id: number): Doc {
  return { id, name: id % 3 === 0 ? null : `doc ${id}` }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof DatabaseError ? error.sqlState : undefined
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

const index = {
  indexOid: vectorIndexOid,
  name: 'docs_embedding_idx',
  attnum: 3,
  metric: 'l2' as const,
  m: 16,
  efConstruction: 64,
}

describe('a streaming node elsewhere', () => {
  test('commits, refuses, reads and knows how far it is', async () => {
    const at = await world.commit(insert(...range(0, 20).map(doc)))
    expect(remote.serviceTime()).toBe(at)
    const duplicate = world.commit(insert(doc(7)))
    await expect(duplicate).rejects.toMatchObject({
      sqlState: '23505',
      fields: { constraint: 'docs_pkey' },
    })
    expect((await world.rows(at)).map(({ id, name }) => ({ id, name }))).toEqual(
      range(0, 20).map(doc),
    )
    expect(await world.nearest(vectorOf(5), 3)).toEqual([5, 4, 6])
    const write = { tableId, shard: 0, truncate: false, deletes: new Float64Array(0) }
    const conflict = await remote.findConflict(
      { ...write, inserts: [batchOf([doc(100), doc(3)])] },
      context,
    )
    expect(conflict).toMatchObject({ row: 1 })
    await world.commit({ deletes: await world.rowIdsOf(1, 2) })
    expect(await world.ids()).toEqual([0, ...range(3, 20)])
    expect(await remote.statistics(tableId)).toMatchObject({ liveRows: 18 })
    expect(await remote.activity()).toMatchObject({ logChannel: 'log-0', shardCount: 1 })
  })

  test('flushes, builds an index and merges with query and data nodes elsewhere', async () => {
    await world.commit(insert(...range(0, 150).map(doc)))
    await remote.flush(tableId, context)
    await world.commit(insert(...range(150, 300).map(doc)))
    await remote.putTable({ ...docs, version: 2, vectorIndexes: [index] })
    const progress: number[] = []
    const report = (done: number) => progress.push(done)
    await remote.buildIndex(tableId, vectorIndexOid, report, context)
    expect(progress.at(-1)).toBe(300)
    await world.commit({ deletes: await world.rowIdsOf(17, 200) })
    expect(await world.nearest(vectorOf(17), 2)).toEqual([16, 18])
    expect(await world.ids()).toEqual(range(0, 300).filter((id) => id !== 17 && id !== 200))
    await remote.compact(tableId, context)
    expect((await remote.statistics(tableId)).segments).toMatchObject([{ stage: 'indexed' }])
    expect(await world.ids()).toHaveLength(298)
  })

  test('keeps staged rows for whoever opened them, and gives them up when he goes', async () => {
    const staged = await remote.stage(tableId, 0)
    await staged.append(batchOf([doc(1), doc(2)]))
    await staged.append(batchOf([doc(3)]))
    expect(staged.rowCount).toBe(3)
    expect(await world.ids()).toEqual([])
    await world.commit({}, { staged: [staged] })
    expect(await world.ids()).toEqual([1, 2, 3])

    const givenUp = await remote.stage(tableId, 0)
    await givenUp.append(batchOf([doc(4)]))
    await givenUp.abort()
    await expect(givenUp.append(batchOf([doc(5)]))).rejects.toBeInstanceOf(DatabaseError)

    const going = connect()
    const left = await remoteStreaming({ logChannel: 'log-0', find: () => going }).stage(tableId, 0)
    await left.append(batchOf([doc(6)]))
    going.close()
    const stillThere = async () => {
      const target = { contract: 'streaming', object: 'log-0' }
      await owner?.call(target, 'append', [3, batchOf([])], context)
    }
    await expect.poll(() => stillThere().catch(codeOf), { timeout: 5000 }).toBe('40001')
    const lost = world.commit({}, { staged: [left] })
    await expect(lost).rejects.toMatchObject({ sqlState: '40001' })
    await world.commit(insert(doc(4), doc(5), doc(6)))
    expect(await world.ids()).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('prepares and finishes, and says what became of it', async () => {
    const write = { tableId, shard: 0, truncate: false, deletes: new Float64Array(0) }
    const request = {
      writes: [{ ...write, inserts: [batchOf([doc(1)])] }],
      staged: [],
      references: [],
      readAt: world.node.serviceTime(),
    }
    const { preparedAt } = await remote.prepare('log-1/1/a', request, context)
    const committedAt = await world.coordinator.timestamp(preparedAt)
    await remote.finish('log-1/1/a', committedAt)
    expect(await world.ids(committedAt)).toEqual([1])
    const term = await remote.term()
    expect(await remote.outcome(`log-0/${term}/never`)).toEqual({ kind: 'aborted' })
  })

  test('is not the one to ask: nothing has happened', async () => {
    owner = undefined
    await expect(remote.term()).rejects.toMatchObject({ outcome: 'determinate' })
    owner = connect()
    served.delete('streaming log-0')
    await expect(remote.term()).rejects.toMatchObject({ outcome: 'determinate' })
    expect(remote.serviceTime()).toBe(timestampZero)
  })

  test('hears that nobody waits for it any more', async () => {
    await world.commit(insert(doc(1)))
    const cancelled = new AbortController()
    const reason = new Error('enough')
    const waiting = remote.aggregate(
      {
        ...{ tableId, shard: 0, readAt: (world.node.serviceTime() + 4e9) as never },
        ...{ groupBy: [], aggregates: [] },
      } as never,
      { signal: cancelled.signal },
    )
    cancelled.abort(reason)
    await expect(waiting).rejects.toBe(reason)
  })
})

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DatabaseError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { native } from '#engine/index/native.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { startDataNode } from '#nodes/data/data-node.js'
import { openPooledDataNodes } from '#nodes/data/pooled-data-nodes.js'
import { openPlacedQueryNodes } from '#nodes/query/placed-query-nodes.js'
import { type LocalQueryNode, startQueryNode } from '#nodes/query/query-node.js'
import { openStreamingHost, type StreamingHost } from '#nodes/streaming/host.js'
import { context, docs, insert, noRows, tableId } from '#nodes/streaming/streaming.testing.js'
import { type FaultSource, noFault, noFaults } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'

const runtime = systemRuntime
let directory = ''
let coordinator: Coordinator
let hosts: StreamingHost[] = []
let queryNodes: LocalQueryNode[] = []
let stopDataNode: () => Promise<void>
/** Of the first host's log. */
let walFaults: FaultSource = noFaults

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'elanus-host-'))
  const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime })
  coordinator = await openCoordinator({ meta, runtime, leadership: 'elected' })
  const localDirectory = join(directory, 'cache')
  const objects = new MemoryObjects(new MemoryObjectsDisk(), { runtime, localDirectory })
  queryNodes = [0, 1].map(() => startQueryNode({ native, objects, runtime }))
  const dataNodes = openPooledDataNodes({ runtime })
  const dataNode = await startDataNode({
    native,
    objects,
    runtime,
    temporaryDirectory: join(directory, 'tmp'),
    threads: 1,
  })
  stopDataNode = () => dataNode.stop()
  dataNodes.putNode('d', dataNode)
  const walDisk = new MemoryWalDisk()
  walFaults = noFaults
  const faults: FaultSource[] = [(operation, target) => walFaults(operation, target), noFaults]
  hosts = faults.map((source) =>
    openStreamingHost({
      wal: new MemoryWal(walDisk, { runtime, faults: source }),
      coordinator,
      dataNode: dataNodes,
      native,
      runtime,
      background: 'manual',
      openQueryNode() {
        const placed = openPlacedQueryNodes({ runtime, replicaCount: 1 })
        queryNodes.forEach((node, n) => {
          placed.putNode(`q${n}`, node)
        })
        return placed
      },
    }),
  )
})
afterEach(async () => {
  for (const host of hosts) await host.stop()
  for (const node of queryNodes) await node.stop()
  await stopDataNode()
  await rm(directory, { recursive: true, force: true })
})

/** A client that asks whoever may be the owner, and waits when nobody is. */
async function patiently<T>(ask: (host: StreamingHost) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const host = hosts[attempt % 2]
    if (host === undefined) throw new Error('no host')
    try {
      return await ask(host)
    } catch (error) {
      const mayWait = error instanceof DatabaseError && error.sqlState === '57P03'
      if (!mayWait || attempt > 500) throw error
      await runtime.sleep(2)
    }
  }
}

const write = (id: number) => ({
  writes: [
    {
      tableId,
      shard: 0,
      truncate: false,
      deletes: noRows,
      inserts: [],
      ...insert({ id, name: 'x' }),
    },
  ],
  staged: [],
  references: [],
})

async function countRows(): Promise<number> {
  const readAt = await coordinator.timestamp()
  const part = await patiently((host) =>
    host
      .node('log-0')
      .aggregate(
        { tableId, shard: 0, readAt, aggregates: [{ kind: 'countStar', attnum: 0, as: 'native' }] },
        context,
      ),
  )
  return part.values[0]?.count ?? -1
}

test('a log channel goes from one to the other and back without a failed write', async () => {
  await hosts[0]?.take('log-0')
  await patiently((host) => host.node('log-0').putTable(docs))
  let isOver = false
  let written = 0
  const writers = [0, 1, 2].map(async (writer) => {
    for (let n = 0; !isOver; n += 1) {
      const readAt = await coordinator.timestamp()
      await patiently((host) =>
        host.node('log-0').commit({ ...write(writer * 100_000 + n + 1), readAt }, context),
      )
      written += 1
      await runtime.sleep(2)
      if (n % 10 === 0) expect(await countRows()).toBeGreaterThanOrEqual(n)
    }
  })
  for (let round = 0; round < 6; round += 1) {
    const [from, to] = round % 2 === 0 ? [0, 1] : [1, 0]
    await runtime.sleep(30)
    await hosts[from]?.give('log-0', round % 3 === 0 ? 'flush' : 'at once')
    await hosts[to]?.take('log-0')
    await hosts[to]?.take('log-0')
    expect(hosts.map((host) => host.owned())).toEqual(to === 0 ? [['log-0'], []] : [[], ['log-0']])
  }
  isOver = true
  await Promise.all(writers)
  expect(await countRows()).toBe(written)
})

test('one process owns several log channels; a taken one is dropped by whoever had it', async () => {
  await Promise.all(['log-0', 'log-1', 'log-2'].map((name) => hosts[0]?.take(name)))
  expect(hosts[0]?.owned().toSorted()).toEqual(['log-0', 'log-1', 'log-2'])
  await hosts[1]?.take('log-1')
  const node = hosts[0]?.node('log-1')
  await expect(node?.putTable(docs)).rejects.toMatchObject({ sqlState: '57P03' })
  await expect.poll(() => hosts[0]?.owned().toSorted()).toEqual(['log-0', 'log-2'])
  await hosts[1]?.node('log-1').putTable(docs)
})

test('one that finds, when it is opened anew after a failure, that another has taken the log channel has it no more', async () => {
  await hosts[0]?.take('log-0')
  await hosts[0]?.node('log-0').putTable(docs)
  let isOpeningAnew = false
  walFaults = (operation) => {
    if (operation === 'wal.append') return { ...noFault, kind: 'lost' }
    if (operation !== 'wal.openWriter') return noFault
    isOpeningAnew = true
    return { ...noFault, delayAfterMs: 100 }
  }
  const readAt = await coordinator.timestamp()
  const failing = hosts[0]?.node('log-0').commit({ ...write(1), readAt }, context)
  await expect(failing).rejects.toMatchObject({ sqlState: '57P01' })
  await expect.poll(() => isOpeningAnew).toBe(true)
  await hosts[1]?.take('log-0')
  await expect.poll(() => hosts.map((host) => host.owned())).toEqual([[], ['log-0']])
})

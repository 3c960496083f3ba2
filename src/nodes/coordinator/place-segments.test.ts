import { beforeEach, describe, expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { ClusterNode, Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { SegmentPlacing } from '#nodes/coordinator/place-segments.js'
import { decodeChunk, placementPrefix } from '#nodes/coordinator/segment-placement.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const runtime = systemRuntime
const rowsPerSegment = 1000

let disk: MemoryMetaDisk
let coordinator: Coordinator
let nodes: ClusterNode[]
let replicaCounts: ReadonlyMap<number, number>

const lead = () =>
  openCoordinator({ meta: new MemoryMeta(disk, { runtime }), runtime, leadership: 'elected' })
const node = (id: string, isDraining = false): ClusterNode => ({
  ...{ kind: 'query', id, address: id, capacity: 1, isDraining, life: '1' },
})
const place = (by = coordinator) =>
  SegmentPlacing.open({
    ...{ coordinator: by, runtime, nodes: () => nodes, replicaCount: 2, onError: () => {} },
    replicaCounts: () => replicaCounts,
  })

function manifest(segmentId: number, tableId: number): SegmentManifest {
  return {
    ...{ formatVersion: 1, segmentId, tableId, shard: 0, incarnation: 0, rowCount: rowsPerSegment },
    ...{ minRowId: segmentId * rowsPerSegment, maxRowId: (segmentId + 1) * rowsPerSegment - 1 },
    ...{ minTimestamp: 1, maxTimestamp: 2, indexes: [], columns: [] },
    data: { name: `data-${segmentId}`, bytes: 1_000_000, checksum: '00000000' },
  }
}

/** What an owner of log channels reads. */
async function written(from = coordinator): Promise<Map<number, readonly string[]>> {
  const chunks = await from.listSettings(placementPrefix)
  return new Map(chunks.flatMap(({ value }) => [...decodeChunk(new TextDecoder().decode(value))]))
}

const held = (placed: ReadonlyMap<number, readonly string[]>, id: string) =>
  [...placed].filter(([, on]) => on.includes(id)).map(([segmentId]) => segmentId)

beforeEach(async () => {
  disk = new MemoryMetaDisk()
  coordinator = await lead()
  nodes = ['a', 'b', 'c'].map((id) => node(id))
  replicaCounts = new Map()
  // In two chunks.
  const add = Array.from({ length: 30 }, (_, i) => manifest(1010 + i, i % 3))
  await coordinator.switchSegments({ add, remove: [], checkpoints: new Map() })
})

describe('segments', () => {
  test('are on as many nodes as their table wants, or there are', async () => {
    replicaCounts = new Map([
      [0, 1],
      [1, 5],
    ])
    const placing = await place()
    await placing.turn()
    for (const [segmentId, on] of await written()) {
      const wanted = [1, 3, 2][(segmentId - 1010) % 3]
      expect(new Set(on).size).toBe(wanted)
    }
    replicaCounts = new Map([[0, 2]])
    await placing.turn()
    for (const on of (await written()).values()) expect(on).toHaveLength(2)
  })

  test('go to a node that comes, and away from one that leaves or dies', async () => {
    nodes = [node('a'), node('b')]
    const placing = await place()
    await placing.turn()
    const before = await written()
    nodes = [...nodes, node('c')]
    await placing.turn()
    const grown = await written()
    expect(held(grown, 'c').length).toBeGreaterThan(15)
    for (const [segmentId, on] of grown) {
      const moved = on.filter((id) => !before.get(segmentId)?.includes(id))
      expect(moved.filter((id) => id !== 'c')).toEqual([])
    }
    nodes = [node('a', true), node('b'), node('c')]
    await placing.turn()
    expect(held(await written(), 'a')).toEqual([])
    nodes = [node('b')]
    await placing.turn()
    expect(held(await written(), 'b')).toHaveLength(30)
    // Who comes back gets what it had.
    nodes = [node('b'), node('c')]
    await placing.turn()
    for (const on of (await written()).values()) expect(on.toSorted()).toEqual(['b', 'c'])
  })

  test('stay where they are when another coordinator leads, whose word alone counts then', async () => {
    const placing = await place()
    await placing.turn()
    const before = await written()
    const next = await lead()
    const placingNext = await place(next)
    await placingNext.turn()
    expect(await written(next)).toEqual(before)
    nodes = [node('a'), node('b')]
    await expect(placing.turn()).rejects.toThrow()
    await placingNext.turn()
    expect(held(await written(next), 'c')).toEqual([])
  })

  test('that are gone are not written any more, and nothing is written when nothing has changed', async () => {
    const placing = await place()
    await placing.turn()
    await coordinator.switchSegments({
      ...{ add: [], checkpoints: new Map() },
      remove: Array.from({ length: 14 }, (_, i) => 1010 + i),
    })
    await placing.turn()
    expect([...(await written()).keys()].toSorted()).toEqual(
      Array.from({ length: 16 }, (_, i) => 1024 + i),
    )
    expect(await coordinator.listSettings(placementPrefix)).toHaveLength(1)
    const { putSetting } = coordinator
    let puts = 0
    Object.assign(coordinator, {
      async putSetting(...given: Parameters<typeof putSetting>) {
        puts += 1
        await putSetting(...given)
      },
    })
    await placing.turn()
    await (await place()).turn()
    expect(puts).toBe(0)
  })
})

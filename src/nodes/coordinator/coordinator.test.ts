import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Runtime } from '#base/runtime.js'
import { systemRuntime } from '#base/system-runtime.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

class Clock {
  ms = 1_700_000_000_000
  readonly runtime: Runtime = { ...systemRuntime, nowMs: () => this.ms }
}

function open(disk: MemoryMetaDisk, clock = new Clock(), faults = () => noFault) {
  const { runtime } = clock
  return openCoordinator({ meta: new MemoryMeta(disk, { runtime, faults }), runtime })
}

const manifest = (segmentId: number): SegmentManifest => ({
  formatVersion: 1,
  segmentId,
  tableId: 1,
  shard: 0,
  incarnation: 1,
  rowCount: 1,
  minRowId: 1,
  maxRowId: 1,
  minTimestamp: 1,
  maxTimestamp: 1,
  data: { name: 'x', bytes: 1, checksum: '00000000' },
  indexes: [],
  columns: [],
})

describe('timestamps', () => {
  test('TS-1: rise strictly, whatever the clock does and however often it restarts', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('draw' as const), count: fc.integer({ min: 1, max: 50 }) }),
      fc.record({
        kind: fc.constant('clock' as const),
        ms: fc.integer({ min: -10_000, max: 10_000 }),
      }),
      fc.record({ kind: fc.constant('restart' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const disk = new MemoryMetaDisk()
        const clock = new Clock()
        let coordinator: Coordinator = await open(disk, clock)
        let last = 0
        for (const next of steps) {
          if (next.kind === 'clock') clock.ms += next.ms
          else if (next.kind === 'restart') coordinator = await open(disk, clock)
          else {
            for (let i = 0; i < next.count; i += 1) {
              const timestamp = coordinator.timestampNow() ?? (await coordinator.timestamp())
              expect(timestamp).toBeGreaterThan(last)
              last = timestamp
            }
          }
        }
      }),
      { numRuns: 50 },
    )
  })

  test('many waiting at once get different ones', async () => {
    const coordinator = await open(new MemoryMetaDisk())
    const drawn = await Promise.all(Array.from({ length: 20 }, () => coordinator.timestamp()))
    expect(new Set(drawn).size).toBe(20)
  })

  test('are not handed out when the lease cannot be persisted', async () => {
    let isBroken = false
    const coordinator = await open(new MemoryMetaDisk(), new Clock(), () =>
      isBroken ? { ...noFault, kind: 'refused' } : noFault,
    )
    isBroken = true
    expect(coordinator.timestampNow()).toBeUndefined()
    await expect(coordinator.timestamp()).rejects.toThrow()
    isBroken = false
    expect(await coordinator.timestamp()).toBeGreaterThan(0)
  })
})

test('a later coordinator fences the earlier', async () => {
  const disk = new MemoryMetaDisk()
  const first = await open(disk)
  const second = await open(disk)
  await expect(first.putSetting('a', Uint8Array.of(1))).rejects.toMatchObject({ sqlState: '57P01' })
  await second.putSetting('a', Uint8Array.of(2))
  expect(await second.getSetting('a')).toEqual(Uint8Array.of(2))
})

test('the DDL log keeps order and sizes, refuses what was decided on an older version, and survives', async () => {
  const disk = new MemoryMetaDisk()
  const coordinator = await open(disk)
  const large = new Uint8Array(2_500_000).map((_, i) => i % 251)
  const entries = [Uint8Array.of(1), new Uint8Array(0), large]
  expect(await coordinator.appendDdl(0, entries)).toBe(true)
  expect(await coordinator.appendDdl(0, [Uint8Array.of(9)])).toBe(false)
  expect(await coordinator.appendDdl(3, [Uint8Array.of(4)])).toBe(true)
  const again = await open(disk)
  const log = await again.ddlLog()
  expect(log.length).toBe(4)
  expect(Buffer.compare(log[2] ?? new Uint8Array(0), large)).toBe(0)
  expect([log[0], log[1], log[3]]).toEqual([entries[0], entries[1], Uint8Array.of(4)])
})

test('ids and counters are never given twice, also across a restart', async () => {
  const disk = new MemoryMetaDisk()
  const first = await open(disk)
  const ids = [...(await first.allocateSegmentIds(3))]
  expect(await first.leaseCounter('s', 10, 1)).toBe(1)
  const second = await open(disk)
  ids.push(...(await second.allocateSegmentIds(3)))
  expect(new Set(ids).size).toBe(6)
  expect(await second.leaseCounter('s', 10, 1)).toBe(11)
  expect(await second.leaseCounter('s', 10, 100)).toBe(100)
})

test('segments and checkpoints move together and survive; settings are listed by prefix', async () => {
  const disk = new MemoryMetaDisk()
  const first = await open(disk)
  const checkpoints = (position: number) => new Map([['c', position]])
  await first.switchSegments({
    add: [manifest(1), manifest(2)],
    remove: [],
    checkpoints: checkpoints(5),
  })
  await first.switchSegments({
    add: [manifest(3), { ...manifest(2), rowCount: 7 }],
    remove: [1, 2],
    checkpoints: checkpoints(9),
  })
  await expect(
    first.switchSegments({ add: [], remove: [], checkpoints: checkpoints(8) }),
  ).rejects.toThrow('WAL-4')
  await first.putSetting('x/a', Uint8Array.of(1))
  await first.putSetting('x/b', Uint8Array.of(2))
  await first.putSetting('x/a', undefined)
  const second = await open(disk)
  expect((await second.segments()).map(({ segmentId, rowCount }) => [segmentId, rowCount])).toEqual(
    [
      [2, 7],
      [3, 1],
    ],
  )
  expect([...(await second.checkpoints())]).toEqual([['c', 9]])
  await second.switchSegments({ add: [], remove: [], checkpoints: checkpoints(-1) })
  expect((await second.checkpoints()).size).toBe(0)
  expect(await second.listSettings('x/')).toEqual([{ key: 'x/b', value: Uint8Array.of(2) }])
})

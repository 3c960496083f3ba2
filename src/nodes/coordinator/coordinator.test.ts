import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Runtime } from '#base/runtime.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Timestamp, timestampFrom, timestampToUnixMs } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { type Fault, type FaultSource, noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

class Clock {
  ms = 1_700_000_000_000
  readonly runtime: Runtime = { ...systemRuntime, nowMs: () => this.ms }
}

function open(disk: MemoryMetaDisk, clock = new Clock(), faults: FaultSource = () => noFault) {
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

  test('leaders that change all the time do not push time far ahead of the clock', async () => {
    const disk = new MemoryMetaDisk()
    const clock = new Clock()
    let last = 0
    for (let leader = 0; leader < 20; leader += 1)
      last = await (await open(disk, clock)).timestamp()
    expect(timestampToUnixMs(last as Timestamp) - clock.ms).toBeLessThan(4000)
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

describe('several coordinators over one store', () => {
  const elect = (disk: MemoryMetaDisk, clock: Clock, faults: () => Fault = () => noFault) =>
    openCoordinator({
      meta: new MemoryMeta(disk, { runtime: clock.runtime, faults }),
      runtime: clock.runtime,
      leadership: 'elected',
    })

  test('a deposed one says nothing it cannot stand for', async () => {
    const disk = new MemoryMetaDisk()
    const first = await elect(disk, new Clock())
    expect(first.timestampNow()).toBeUndefined()
    const drawn = await first.timestamp()
    const second = await elect(disk, new Clock())
    expect(await second.timestamp()).toBeGreaterThan(drawn)
    await second.switchSegments({ add: [manifest(1)], remove: [], checkpoints: new Map() })
    await second.appendDdl(0, [Uint8Array.of(1)])
    const deposed = { sqlState: '57P01' }
    await expect(first.timestamp()).rejects.toMatchObject(deposed)
    await expect(first.segments()).rejects.toMatchObject(deposed)
    await expect(first.checkpoints()).rejects.toMatchObject(deposed)
    await expect(first.ddlLog()).rejects.toMatchObject(deposed)
    await expect(first.appendDdl(7, [Uint8Array.of(1)])).rejects.toMatchObject(deposed)
  })

  test('many who wait for a timestamp share a question to the store', async () => {
    const disk = new MemoryMetaDisk()
    let reads = 0
    const { runtime } = new Clock()
    const faults = (operation: string) => {
      if (operation === 'meta.get') reads += 1
      return noFault
    }
    const meta = new MemoryMeta(disk, { runtime, faults })
    const coordinator = await openCoordinator({ meta, runtime, leadership: 'elected' })
    await coordinator.timestamp()
    reads = 0
    const drawn = await Promise.all(Array.from({ length: 100 }, () => coordinator.timestamp()))
    expect(new Set(drawn).size).toBe(100)
    expect(reads).toBe(2)
  })

  test('TS-1: above a given timestamp, at most some seconds ahead of the clock', async () => {
    const clock = new Clock()
    const coordinator = await elect(new MemoryMetaDisk(), clock)
    const ahead = (ms: number) => timestampFrom(clock.ms + ms, 0)
    const near = ahead(5000)
    expect(await coordinator.timestamp(near)).toBeGreaterThan(near)
    expect(await coordinator.timestamp()).toBeGreaterThan(near)
    const far = ahead(12_000)
    const waiting = coordinator.timestamp(far)
    expect(await coordinator.timestamp()).toBeLessThan(far)
    clock.ms += 3000
    expect(await waiting).toBeGreaterThan(far)
  })
})

describe.each(['lost', 'done-unknown'] as const)('after a write that was %s', (kind) => {
  async function openFaulty() {
    let isArmed = false
    const disk = new MemoryMetaDisk()
    const faults = (operation: string): Fault => {
      if (operation !== 'meta.write' || !isArmed) return noFault
      isArmed = false
      return { ...noFault, kind }
    }
    return {
      coordinator: await open(disk, new Clock(), faults),
      disk,
      arm: () => {
        isArmed = true
      },
    }
  }
  const unclear = { outcome: 'indeterminate' }

  test('it knows of segments and checkpoints what the store knows; the step is done once', async () => {
    const { coordinator, disk, arm } = await openFaulty()
    const change = {
      add: [manifest(1)],
      remove: [],
      checkpoints: new Map([['c', 5]]),
      by: { logChannel: 'log-0', term: 3, step: 1 },
    }
    arm()
    await expect(coordinator.switchSegments(change)).rejects.toMatchObject(unclear)
    const known = await coordinator.segments()
    expect(known.length).toBe(kind === 'lost' ? 0 : 1)
    expect((await coordinator.checkpoints()).get('c')).toBe(kind === 'lost' ? undefined : 5)
    await coordinator.switchSegments(change)
    const second = { add: [], remove: [1], checkpoints: new Map([['c', 9]]) }
    await coordinator.switchSegments({ ...second, by: { ...change.by, step: 2 } })
    // Late, and twice.
    await coordinator.switchSegments(change)
    await coordinator.putSetting('x', Uint8Array.of(1), change.by)
    expect(await coordinator.getSetting('x')).toBeUndefined()
    expect(await coordinator.segments()).toEqual([])
    expect(await (await open(disk)).segments()).toEqual([])
    expect([...(await coordinator.checkpoints())]).toEqual([['c', 9]])
  })

  test('an append to the DDL log is repeated with its id and done once', async () => {
    const { coordinator, disk, arm } = await openFaulty()
    const large = [new Uint8Array(2_500_000)]
    arm()
    await expect(coordinator.appendDdl(0, large, 'one')).rejects.toMatchObject(unclear)
    expect((await coordinator.ddlLog()).length).toBe(kind === 'lost' ? 0 : 1)
    expect(await coordinator.appendDdl(0, large, 'one')).toBe(true)
    expect(await coordinator.appendDdl(0, [Uint8Array.of(1)], 'two')).toBe(false)
    expect(await coordinator.appendDdl(1, [Uint8Array.of(1)], 'two')).toBe(true)
    expect(await coordinator.appendDdl(0, large, 'one')).toBe(true)
    const again = await open(disk)
    expect((await again.ddlLog()).map(({ byteLength }) => byteLength)).toEqual([2_500_000, 1])
    expect(await again.appendDdl(1, [Uint8Array.of(1)], 'two')).toBe(true)
    expect((await again.ddlLog()).length).toBe(2)
  })

  test('the owner of a log channel is replaced or not, and the log channel has one', async () => {
    const { coordinator, arm } = await openFaulty()
    const owner = (term: number) => ({ term, servesBefore: (term * 10) as Timestamp })
    expect(await coordinator.setLogChannelOwner('log-0', undefined, owner(1))).toBe(true)
    expect(await coordinator.setLogChannelOwner('log-0', undefined, owner(2))).toBe(false)
    arm()
    await expect(coordinator.setLogChannelOwner('log-0', owner(1), owner(2))).rejects.toMatchObject(
      unclear,
    )
    const found = await coordinator.logChannelOwner('log-0')
    expect(found).toEqual(owner(kind === 'lost' ? 1 : 2))
    expect(await coordinator.setLogChannelOwner('log-0', found, owner(3))).toBe(true)
    await expect(
      coordinator.switchSegments({
        add: [manifest(1)],
        remove: [],
        checkpoints: new Map(),
        by: { logChannel: 'log-0', term: 2, step: 1 },
      }),
    ).rejects.toMatchObject({ sqlState: '57P03' })
    expect(await coordinator.segments()).toEqual([])
  })
})

import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DatabaseError } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { docs, insert, World } from '#nodes/streaming/streaming.testing.js'
import { type Fault, noFault, noFaults } from '#storage/faults.js'
import { MemoryMeta } from '#storage/meta/memory/memory-meta.js'

/** Two processes that may own the log channel, and a coordinator of their own. */
async function createTwo(): Promise<[World, World]> {
  const first = await World.create()
  const second = await World.create(first)
  const { runtime } = first
  const meta = new MemoryMeta(first.meta, {
    runtime,
    faults: (operation, target) => first.metaFaults(operation, target),
  })
  const coordinator = await openCoordinator({ meta, runtime, leadership: 'elected' })
  for (const world of [first, second]) {
    world.shared = true
    world.givenCoordinator = coordinator
  }
  return [first, second]
}

let first: World
let second: World
beforeEach(async () => {
  ;[first, second] = await createTwo()
})
afterEach(async () => {
  await first.close()
  await second.close()
})

const noOwner = { sqlState: '57P03', message: expect.stringMatching(/owner/) }

test('a deposed owner answers no read that could miss what its successor committed, and commits nothing', async () => {
  await first.open()
  await first.node.putTable(docs)
  const before = await first.commit(insert({ id: 1, name: 'a' }))
  await second.open()
  const after = await second.commit(insert({ id: 2, name: 'b' }))
  expect(await second.ids(await first.coordinator.timestamp())).toEqual([1, 2])
  // What lies before its successor it still knows.
  expect(await first.ids(before)).toEqual([1])
  await expect(first.ids(after)).rejects.toMatchObject(noOwner)
  await expect(first.commit(insert({ id: 3, name: 'c' }))).rejects.toMatchObject(noOwner)
  await expect(
    first.node.flush(undefined, { signal: new AbortController().signal }),
  ).rejects.toMatchObject(noOwner)
  expect(await second.ids(await first.coordinator.timestamp())).toEqual([1, 2])
})

test('what a deposed owner has begun to flush does not count', async () => {
  await first.open()
  await first.node.putTable(docs)
  await first.commit(insert({ id: 1, name: 'a' }))
  let isHeld = false
  first.objectFaults = () => {
    isHeld = true
    return { ...noFault, delayBeforeMs: 60 }
  }
  const flushing = first.node.flush(undefined, { signal: new AbortController().signal })
  const refused = expect(flushing).rejects.toMatchObject(noOwner)
  await expect.poll(() => isHeld).toBe(true)
  await second.open()
  await refused
  expect(await second.coordinator.segments()).toEqual([])
  await second.node.flush(undefined, { signal: new AbortController().signal })
  expect(await second.ids(await second.coordinator.timestamp())).toEqual([1])
})

test('a read at a time the lease does not reach waits for its renewal, or is refused', async () => {
  await first.open()
  await first.node.putTable(docs)
  await first.commit(insert({ id: 1, name: 'a' }))
  first.clockMs += 60_000
  expect(await first.ids(await first.coordinator.timestamp())).toEqual([1])
  const abort = new AbortController()
  const future = ((await first.coordinator.timestamp()) + 4096 * 60_000) as Timestamp
  const reading = first.node.aggregate(
    {
      tableId: docs.tableId,
      shard: 0,
      readAt: future,
      aggregates: [{ kind: 'countStar' }],
    } as never,
    { signal: abort.signal },
  )
  setTimeout(() => abort.abort(new Error('cancelled')), 30)
  await expect(reading).rejects.toThrow('cancelled')
})

test('an owner that stops gives the lease back: timestamps need not jump', async () => {
  await first.open()
  await first.node.putTable(docs)
  const committed = await first.commit(insert({ id: 1, name: 'a' }))
  await first.node.stop()
  const owner = await first.coordinator.logChannelOwner('log-0')
  expect(owner?.servesBefore).toBeGreaterThan(committed)
  expect(owner?.servesBefore).toBeLessThan((await first.coordinator.timestamp()) + 4096 * 100)
  await second.open()
  expect(await second.ids(await second.coordinator.timestamp())).toEqual([1])
})

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('commit' as const), on: fc.nat(1) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('read' as const), on: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('take over' as const), on: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const), on: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clock' as const), on: fc.nat(5000) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('refused' as const, 'lost' as const, 'done-unknown' as const),
      on: fc.nat(3),
    }),
  },
)

test('whoever answers, a read at T sees what was acknowledged before T was drawn', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const worlds = await createTwo()
      const [one] = worlds
      await one.open()
      await one.node.putTable(docs)
      const isOpen = [true, false]
      const acknowledged = new Set<number>()
      const unknown = new Set<number>()
      let nextId = 1
      let faulty: { kind: Fault['kind']; left: number } = { kind: 'none', left: 0 }
      one.metaFaults = (operation) => {
        if (operation !== 'meta.write' || faulty.left === 0) return noFault
        faulty.left -= 1
        return { ...noFault, kind: faulty.kind }
      }

      async function commit(world: World): Promise<void> {
        const id = nextId
        nextId += 1
        try {
          const readAt = await world.coordinator.timestamp()
          await world.commit(insert({ id, name: 'x' }), { readAt })
          acknowledged.add(id)
        } catch (error) {
          if ((error as DatabaseError).sqlState === '57P01') unknown.add(id)
        }
      }

      async function read(world: World): Promise<void> {
        const wanted = [...acknowledged]
        try {
          const ids = await world.ids(await world.coordinator.timestamp())
          for (const id of wanted) expect(ids).toContain(id)
          expect(new Set(ids).size).toBe(ids.length)
          for (const id of ids) expect(acknowledged.has(id) || unknown.has(id)).toBe(true)
        } catch (error) {
          if (!('sqlState' in (error as object)) && !('outcome' in (error as object))) throw error
        }
      }

      for (const { kind, on } of steps) {
        const world = worlds[on]
        if (kind === 'clock') one.clockMs += on
        else if (kind === 'refused' || kind === 'lost' || kind === 'done-unknown') {
          faulty = { kind, left: on }
        } else if (world === undefined) continue
        else if (kind === 'take over') {
          if (isOpen[on]) world.crash()
          isOpen[on] = await world.open().then(
            () => true,
            () => false,
          )
        } else if (!isOpen[on]) continue
        else if (kind === 'commit') await commit(world)
        else if (kind === 'read') await read(world)
        else
          await world.node
            .flush(undefined, { signal: new AbortController().signal })
            .catch(() => {})
      }
      one.metaFaults = noFaults
      await worlds[1].open()
      const ids = await worlds[1].ids(await worlds[1].coordinator.timestamp())
      expect(new Set(ids).size).toBe(ids.length)
      for (const id of acknowledged) expect(ids).toContain(id)
      await Promise.all(worlds.map((world) => world.close()))
    }),
    { numRuns: 40 },
  )
}, 120_000)

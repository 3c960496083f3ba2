import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backgroundContext, type Context } from '#base/context.js'
import { Residency } from '#nodes/query/residency.js'

interface Thing {
  readonly key: number
  open: boolean
  bytes: number
}

/** Loads take as many turns of the event loop as the key says; every third load of a key that is asked to fail does. */
class World {
  readonly opened = new Set<Thing>()
  /** Keys being loaded: no two loads of one at a time. */
  readonly loading = new Set<number>()
  peak = 0
  failing = new Set<number>()
  readonly residency: Residency<number, Thing>

  constructor(sizes: readonly number[], budget: number) {
    this.residency = new Residency<number, Thing>(
      {
        estimate: (key) => sizes[key] ?? 1,
        load: async (key) => {
          expect(this.loading.has(key)).toBe(false)
          this.loading.add(key)
          for (let turn = 0; turn <= key % 4; turn += 1) await turnOfLoop()
          this.loading.delete(key)
          if (this.failing.delete(key)) throw new Error(`cannot load ${key}`)
          const thing = { key, open: true, bytes: sizes[key] ?? 1 }
          this.opened.add(thing)
          return thing
        },
        bytes: ({ bytes }) => bytes,
        unload: (thing) => {
          expect(thing.open).toBe(true)
          thing.open = false
          this.opened.delete(thing)
        },
      },
      budget,
    )
  }

  get bytes(): number {
    let sum = 0
    for (const { bytes } of this.opened) sum += bytes
    return sum
  }
}

const turnOfLoop = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Visits all keys, some at a time, as reads do. */
async function visit(world: World, keys: readonly number[], context: Context, turns: number) {
  const seen: number[] = []
  let left = keys
  while (left.length > 0) {
    const pinned = await world.residency.acquire(left, context)
    expect(pinned.length).toBeGreaterThan(0)
    for (let turn = 0; turn < turns; turn += 1) {
      for (const { key, value } of pinned) {
        expect(value).toMatchObject({ key, open: true })
      }
      await turnOfLoop()
    }
    seen.push(...pinned.map(({ key }) => key))
    left = left.filter((key) => !seen.includes(key))
    world.residency.release(pinned.map(({ key }) => key))
  }
  expect(seen.toSorted()).toEqual(keys.toSorted())
}

const visitArbitrary = fc.record({
  keys: fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 10 }),
  turns: fc.nat(3),
  /** Begins after so many turns; is cancelled after so many more. */
  begin: fc.nat(12),
  cancelled: fc.option(fc.nat(12), { nil: undefined }),
  fails: fc.option(fc.nat(9), { nil: undefined }),
})

test('whatever is loaded, pinned, cancelled and evicted in whatever order: MEM-1, MEM-2, everybody is served', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 10, maxLength: 10 }),
      fc.integer({ min: 4, max: 40 }),
      fc.array(visitArbitrary, { minLength: 1, maxLength: 12 }),
      async (sizes, budget, visits) => {
        const world = new World(sizes, budget)
        const largest = Math.max(...sizes)
        let done = false
        const watching = (async () => {
          while (!done) {
            expect(world.residency.figures().usedBytes).toBeLessThanOrEqual(
              Math.max(budget, largest),
            )
            expect(world.bytes).toBeLessThanOrEqual(Math.max(budget, largest))
            await turnOfLoop()
          }
        })()
        await Promise.all(
          visits.map(async ({ keys, turns, begin, cancelled, fails }) => {
            for (let turn = 0; turn < begin; turn += 1) await turnOfLoop()
            if (fails !== undefined) world.failing.add(fails)
            const abort = new AbortController()
            const visiting = visit(world, keys, { signal: abort.signal }, turns)
            const settled = visiting.catch((error: unknown) => {
              expect(String(error)).toMatch(/cancelled|cannot load/)
            })
            if (cancelled !== undefined) {
              for (let turn = 0; turn < cancelled; turn += 1) await turnOfLoop()
              abort.abort(new Error('cancelled'))
            }
            await settled
          }),
        )
        done = true
        await watching
        for (let turn = 0; turn < 8; turn += 1) await turnOfLoop()
        const figures = world.residency.figures()
        expect(figures.waitingCount).toBe(0)
        expect(figures.usedBytes).toBe(world.bytes)
        expect(figures.usedBytes).toBeLessThanOrEqual(budget)
        world.residency.evictAll()
        expect(world.opened.size).toBe(0)
        expect(world.residency.figures().usedBytes).toBe(0)
      },
    ),
    { numRuns: 300 },
  )
})

test('the least recently used goes first, and what is pinned stays', async () => {
  const world = new World([4, 4, 4, 4], 12)
  const { residency } = world
  for (const key of [0, 1, 2]) {
    await residency.acquire([key], backgroundContext)
    residency.release([key])
  }
  residency.acquireHere([0])
  await residency.acquire([3], backgroundContext)
  expect([...world.opened].map(({ key }) => key).toSorted()).toEqual([0, 2, 3])
  residency.release([3])
  await residency.acquire([1], backgroundContext)
  expect([...world.opened].map(({ key }) => key).toSorted()).toEqual([0, 1, 3])
})

test('a read over more than the budget begins with what is here, so that the next one finds part of it', async () => {
  const world = new World(new Array(8).fill(1), 4)
  const all = [0, 1, 2, 3, 4, 5, 6, 7]
  await visit(world, all, backgroundContext, 0)
  const before = world.residency.figures().loads
  await visit(world, all, backgroundContext, 0)
  expect(world.residency.figures().loads - before).toBeLessThanOrEqual(6)
})

test('what grows while it is pinned pushes others out when it is given back', async () => {
  const world = new World([4, 4, 4], 12)
  const { residency } = world
  await residency.acquire([0, 1, 2], backgroundContext)
  residency.release([0, 1])
  for (const thing of world.opened) if (thing.key === 2) thing.bytes = 8
  residency.release([2])
  expect(residency.figures().usedBytes).toBe(12)
  expect([...world.opened].map(({ key }) => key).toSorted()).toEqual([1, 2])
})

test('a load that fails is told to all who wait for it, and tried again by the next', async () => {
  const world = new World([4, 4], 12)
  world.failing.add(1)
  const results = await Promise.allSettled([
    world.residency.acquire([0, 1], backgroundContext),
    world.residency.acquire([1], backgroundContext),
  ])
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await world.residency.acquire([1], backgroundContext)).toMatchObject([{ key: 1 }])
})

test('a thing larger than the budget is there alone, and gone when nobody uses it', async () => {
  const world = new World([4, 20], 12)
  await world.residency.acquire([0], backgroundContext)
  let got = false
  const large = world.residency.acquire([1], backgroundContext).then(() => {
    got = true
  })
  await turnOfLoop()
  expect(got).toBe(false)
  world.residency.release([0])
  await large
  expect([...world.opened].map(({ key }) => key)).toEqual([1])
  world.residency.release([1])
  expect(world.opened.size).toBe(0)
})

test('of nothing all is here, also while somebody waits for room', async () => {
  const { residency } = new World([10, 10], 10)
  const held = await residency.acquire([0], backgroundContext)
  const waiting = residency.acquire([1], backgroundContext)
  expect(residency.figures().waitingCount).toBe(1)
  expect(residency.acquireHere([])).toEqual([])
  residency.release(held.map(({ key }) => key))
  residency.release((await waiting).map(({ key }) => key))
})

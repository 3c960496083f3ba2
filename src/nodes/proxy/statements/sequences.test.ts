import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { openCoordinator } from '#nodes/coordinator/coordinator.js'
import { Sequences } from '#nodes/proxy/statements/sequences.js'
import type { SequenceInfo } from '#postgres/contract.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'

const info: SequenceInfo = {
  oid: 1,
  schemaName: 'public',
  name: 's',
  start: 1n,
  increment: 1n,
  min: 1n,
  max: 1_000_000n,
  cycle: false,
}

async function open() {
  const runtime = systemRuntime
  const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime })
  return await openCoordinator({ meta, runtime })
}

/** Draws that proxies make one after the other (`waits`), or while others are at it. */
const draws = fc.array(
  fc.record({ proxy: fc.nat(2), count: fc.integer({ min: 1, max: 50 }), waits: fc.boolean() }),
  { minLength: 2, maxLength: 30 },
)

test('several proxies never give a value twice, and leave none out', async () => {
  await fc.assert(
    fc.asyncProperty(draws, async (all) => {
      const coordinator = await open()
      const proxies = [0, 1, 2].map(() => new Sequences(coordinator, true))
      const given: bigint[] = []
      const running: Promise<void>[] = []
      for (const { proxy, count, waits } of all) {
        const drawing = (proxies[proxy] as Sequences).next(info, count).then((values) => {
          given.push(...values)
        })
        running.push(drawing)
        if (waits) await drawing
      }
      await Promise.all(running)
      const total = all.reduce((sum, { count }) => sum + count, 0)
      expect(given.sort((a, b) => Number(a - b))).toEqual(
        Array.from({ length: total }, (_, i) => BigInt(i + 1)),
      )
    }),
    { numRuns: 50 },
  )
})

test('what one proxy sets holds for the others', async () => {
  const coordinator = await open()
  const [first, second] = [new Sequences(coordinator, true), new Sequences(coordinator, true)]
  expect(await first.next(info, 2)).toEqual([1n, 2n])
  expect(await second.next(info, 1)).toEqual([3n])
  await first.restart(info, 100n, true)
  expect(await second.next(info, 1)).toEqual([101n])
  await second.restart(info, 1n, false)
  expect(await first.next(info, 2)).toEqual([1n, 2n])
})

test('alone: what was leased and not used is skipped by a crash, given back by an orderly stop', async () => {
  const coordinator = await open()
  const before = new Sequences(coordinator, false)
  expect(await before.next(info, 1)).toEqual([1n])
  const crashed = new Sequences(coordinator, false)
  const [next] = await crashed.next(info, 1)
  expect(next).toBeGreaterThan(1n)
  await crashed.close()
  expect(await new Sequences(coordinator, false).next(info, 1)).toEqual([(next ?? 0n) + 1n])
})

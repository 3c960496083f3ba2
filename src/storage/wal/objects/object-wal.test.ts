import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Fault, noFault } from '#storage/faults.js'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { openObjectWal } from '#storage/wal/objects/object-wal.js'
import { readAllRecords, walConformance } from '#storage/wal/wal.conformance.js'
import type { Wal, WalWriter } from '#storage/wal/wal.js'

walConformance('the log over objects', async () => {
  const scratch = await scratchDirectory()
  const objects = await openDirectoryObjects(join(scratch.path, 'objects'))
  const prefix = randomUUID()
  let wal = openObjectWal(objects, prefix, systemRuntime)
  return {
    wal,
    reopen: async () => {
      await wal.close()
      wal = openObjectWal(objects, prefix, systemRuntime)
      return wal
    },
    cleanup: async () => {
      await wal.close()
      await objects.close()
      await scratch.remove()
    },
  }
})

/** Late, refused, lost or done without saying so. */
function randomFaults(random: () => number) {
  return (operation: string): Fault => {
    if (!operation.startsWith('objects.') || random() < 0.6) return noFault
    const kinds = ['refused', 'lost', 'done-unknown'] as const
    return { ...noFault, kind: kinds[Math.floor(random() * kinds.length)] ?? 'refused' }
  }
}

test('WAL-1, WAL-3: whatever the store says, what was acknowledged is read once and nothing of a deposed writer is', async () => {
  const steps = fc.array(fc.constantFrom('append', 'append', 'append', 'open', 'old', 'truncate'), {
    minLength: 5,
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      async (todo, stream) => {
        const disk = new MemoryObjectsDisk()
        const instant = { ...systemRuntime, sleep: async () => {} }
        const random = () => stream.next().value as number
        const faulty = new MemoryObjects(disk, { runtime: instant, faults: randomFaults(random) })
        const wal = openObjectWal(faulty, 'log', instant)
        const calm = openObjectWal(new MemoryObjects(disk, { runtime: instant }), 'log', instant)
        const acknowledged: number[] = []
        let start = 0
        let current: WalWriter | undefined
        let old: WalWriter | undefined
        let value = 0
        for (const step of todo) {
          value += 1
          try {
            if (step === 'open') {
              // Even when it seems to fail, its object may be there: whoever wrote before is deposed.
              old = current ?? old
              current = undefined
              current = await wal.openWriter('a')
            } else if (step === 'append' && current !== undefined) {
              await current.append([Uint8Array.of(value)])
              acknowledged.push(value)
            } else if (step === 'old' && old !== undefined && current !== undefined) {
              await old.append([Uint8Array.of(value)])
              expect.unreachable('a deposed writer was acknowledged')
            } else if (step === 'truncate' && current !== undefined) {
              const before = (await calm.endPosition('a')) - 2 ** 20
              start = acknowledged.length - (await countFrom(calm, before))
              await calm.truncate('a', before)
            }
          } catch (error) {
            if (!(error instanceof StoreError)) throw error
            if (error.outcome === 'indeterminate') {
              old = current ?? old
              current = undefined
            }
          }
        }
        const read = (await readAllRecords(calm, 0, 'a')).map(({ payload }) => payload[0])
        const kept = acknowledged.slice(start)
        expect(read.filter((found) => kept.includes(found ?? -1))).toEqual(kept)
        expect(new Set(read).size).toBe(read.length)
      },
    ),
    { numRuns: 300 },
  )
})

async function countFrom(wal: Wal, from: number): Promise<number> {
  return (await readAllRecords(wal, from, 'a')).length
}

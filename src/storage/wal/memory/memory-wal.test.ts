import { describe, expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { type Fault, noFault } from '#storage/faults.js'
import { MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'
import { readAllRecords, walConformance } from '#storage/wal/wal.conformance.js'

const runtime = systemRuntime

walConformance('the log in memory', async () => {
  const disk = new MemoryWalDisk()
  let wal = new MemoryWal(disk, { runtime })
  return {
    wal,
    reopen: async () => {
      await wal.close()
      wal = new MemoryWal(disk, { runtime })
      return wal
    },
    another: () => new MemoryWal(disk, { runtime }),
    cleanup: () => wal.close(),
  }
})

describe('the faults of the log in memory', () => {
  const one = Uint8Array.of(1)

  function openWith(faultOf: (appendNumber: number) => Partial<Fault>) {
    const disk = new MemoryWalDisk()
    let appendNumber = 0
    const faults = (operation: string) => {
      if (operation !== 'wal.append') return noFault
      appendNumber += 1
      return { ...noFault, ...faultOf(appendNumber) }
    }
    return { disk, wal: new MemoryWal(disk, { runtime, faults }) }
  }

  test('refused: not done, said so, and the writer goes on', async () => {
    const { wal } = openWith((n) => (n === 1 ? { kind: 'refused' } : {}))
    const writer = await wal.openWriter('log/0')
    await expect(writer.append([one])).rejects.toMatchObject({ outcome: 'determinate' })
    await writer.append([one])
    expect(await readAllRecords(wal)).toHaveLength(1)
  })

  test.each([
    ['lost', 0],
    ['done-unknown', 1],
  ] as const)(
    '%s: nobody knows, %i records are there, the writer is broken',
    async (kind, count) => {
      const { wal } = openWith((n) => (n === 1 ? { kind } : {}))
      const writer = await wal.openWriter('log/0')
      await expect(writer.append([one])).rejects.toMatchObject({ outcome: 'indeterminate' })
      await expect(writer.append([one])).rejects.toMatchObject({ outcome: 'determinate' })
      expect(await readAllRecords(wal)).toHaveLength(count)
      await (await wal.openWriter('log/0')).append([one])
      expect(await readAllRecords(wal)).toHaveLength(count + 1)
    },
  )

  test.each([0, 1, 2, 3])('a crash leaves %i of three unsynced appends', async (survivorCount) => {
    const { disk, wal } = openWith((n) => (n === 1 ? {} : { delayAfterMs: 60_000 }))
    const writer = await wal.openWriter('log/0')
    await writer.append([one])
    const attempts = [2, 3, 4].map((n) => writer.append([Uint8Array.of(n)]))
    await runtime.sleep(5)
    expect(await readAllRecords(wal)).toHaveLength(1)
    wal.crash((_, unsyncedCount) => {
      expect(unsyncedCount).toBe(3)
      return survivorCount
    })
    for (const attempt of attempts) attempt.catch(() => {})
    await expect(writer.append([one])).rejects.toMatchObject({ outcome: 'determinate' })
    const next = new MemoryWal(disk, { runtime })
    const payloads = (await readAllRecords(next)).map(({ payload }) => payload[0])
    expect(payloads).toEqual([1, 2, 3, 4].slice(0, 1 + survivorCount))
    await (await next.openWriter('log/0')).append([one])
    expect(await readAllRecords(next)).toHaveLength(2 + survivorCount)
  })
})

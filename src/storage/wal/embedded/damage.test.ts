/** Damage to the bytes of the embedded log: what a crash may leave is repaired, anything else is XX001, nothing is made up. */
import { cp, open, readdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SqlState } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { openEmbeddedWal } from '#storage/wal/embedded/embedded-wal.js'
import { patterned } from '#storage/wal/pattern.conformance.js'
import { readAllRecords } from '#storage/wal/wal.conformance.js'
import type { LogRecord } from '#storage/wal/wal.js'

const channel = 'c'
const fileHeaderBytes = 32

/** Sizes of the records of each append; the appends of an inner list are under way at the same time: one group. */
type Groups = number[][][]

const append = fc.array(fc.oneof(fc.nat(40), fc.nat(30_000)), { minLength: 1, maxLength: 3 })
const groups: fc.Arbitrary<Groups> = fc.array(fc.array(append, { minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 6,
})
const fileBytesTarget = fc.constantFrom(20_000, 1_000_000)

interface Written {
  readonly directory: string
  /** Of each append. */
  readonly records: readonly (readonly LogRecord[])[]
  /** Appends before the last group. */
  readonly settledCount: number
}

/** Writes the groups one after the other. @returns a copy as a power failure leaves it, or after closing in order. */
async function write(
  path: string,
  wanted: Groups,
  target: number,
  end: 'power failure' | 'close',
): Promise<Written> {
  const live = join(path, 'live')
  const wal = await openEmbeddedWal(live, systemRuntime, { fileBytesTarget: target })
  const writer = await wal.openWriter(channel)
  const records: LogRecord[][] = []
  let settledCount = 0
  let seed = 0
  for (const group of wanted) {
    settledCount = records.length
    const payloads = group.map((sizes) =>
      sizes.map((size) => {
        seed += 1
        return patterned(size, seed)
      }),
    )
    const positions = await Promise.all(payloads.map((each) => writer.append(each)))
    positions.forEach((each, n) => {
      records.push(
        each.map((position, k) => ({ position, payload: payloads[n]?.[k] ?? new Uint8Array() })),
      )
    })
  }
  const directory = join(path, 'damaged')
  if (end === 'close') await wal.close()
  await cp(live, directory, { recursive: true })
  await wal.close()
  return { directory, records, settledCount }
}

async function logFiles(directory: string): Promise<string[]> {
  const names = await readdir(join(directory, channel))
  return names
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => join(directory, channel, name))
}

/** The whole log, or 'corrupted' when opening or reading says XX001. */
async function readBack(directory: string): Promise<LogRecord[] | 'corrupted'> {
  const wal = await openEmbeddedWal(directory, systemRuntime)
  try {
    return await readAllRecords(wal, 0, channel)
  } catch (error) {
    expect(error).toMatchObject({ sqlState: SqlState.dataCorrupted })
    return 'corrupted'
  } finally {
    await wal.close()
  }
}

/** The records are those of the first appends, whole. @returns how many appends */
function expectPrefix(
  records: readonly LogRecord[],
  appends: readonly (readonly LogRecord[])[],
): number {
  let count = 0
  for (let at = 0; at < records.length; count += 1) {
    for (const wanted of appends[count] ?? []) {
      const found = records[at]
      expect(found?.position).toBe(wanted.position)
      expect(Buffer.compare(found?.payload ?? new Uint8Array(), wanted.payload)).toBe(0)
      at += 1
    }
    expect(count).toBeLessThan(appends.length)
  }
  return count
}

async function inScratch(run: (path: string) => Promise<void>): Promise<void> {
  const scratch = await scratchDirectory()
  try {
    await run(scratch.path)
  } finally {
    await scratch.remove()
  }
}

async function appendMore(directory: string): Promise<void> {
  const before = await readBack(directory)
  const wal = await openEmbeddedWal(directory, systemRuntime)
  const writer = await wal.openWriter(channel)
  const [position] = await writer.append([patterned(100, 999)])
  expect(position).toBe(before.length)
  await wal.close()
  expect(await readBack(directory)).toHaveLength(before.length + 1)
}

async function flipByte(path: string, offset: number, by: number): Promise<void> {
  const handle = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await handle.read(byte, 0, 1, offset)
  byte.writeUInt8(byte.readUInt8(0) ^ by, 0)
  await handle.write(byte, 0, 1, offset)
  await handle.close()
}

/** What an append takes in the file, worked out apart from the code under test. */
function frameBytesOf(records: readonly LogRecord[]): number {
  const padded = (byteCount: number) => Math.ceil(byteCount / 8) * 8
  return (
    padded(40 + 4 * records.length) +
    records.reduce((sum, { payload }) => sum + padded(payload.length), 0)
  )
}

test('WAL-2: cut anywhere in the last file, what is left are whole appends from the beginning', async () => {
  await fc.assert(
    fc.asyncProperty(groups, fileBytesTarget, fc.nat(1000), async (wanted, target, permille) => {
      await inScratch(async (path) => {
        const { directory, records } = await write(path, wanted, target, 'power failure')
        const last = (await logFiles(directory)).at(-1) ?? ''
        const size = (await stat(last)).size
        const offset = Math.floor((size * permille) / 1000)
        await truncate(last, offset)
        const found = await readBack(directory)
        if (found === 'corrupted') throw new Error('a torn tail is no corruption')
        const count = expectPrefix(found, records)
        const lost = records.slice(count).reduce((sum, each) => sum + frameBytesOf(each), 0)
        // Only what the cut hit is gone: all lost frames but the first lie wholly behind it.
        const first = records[count] === undefined ? 0 : frameBytesOf(records[count])
        expect(size - Math.max(offset, fileHeaderBytes)).toBeLessThanOrEqual(lost)
        expect(lost - first).toBeLessThanOrEqual(size - Math.max(offset, fileHeaderBytes))
        await appendMore(directory)
      })
    }),
    { numRuns: 40 },
  )
})

test('a changed byte costs at most the last group, which nobody may have been told of; elsewhere it is XX001', async () => {
  await fc.assert(
    fc.asyncProperty(
      groups,
      fileBytesTarget,
      fc.nat(100_000),
      fc.integer({ min: 1, max: 255 }),
      async (wanted, target, place, by) => {
        await inScratch(async (path) => {
          const { directory, records, settledCount } = await write(
            path,
            wanted,
            target,
            'power failure',
          )
          const files = await logFiles(directory)
          const file = files[place % files.length] ?? ''
          const size = (await stat(file)).size
          const offset = place % size
          await flipByte(file, offset, by)
          const lastGroup = records.slice(settledCount)
          const lastGroupBytes = lastGroup.reduce((sum, each) => sum + frameBytesOf(each), 0)
          const isInLastGroup =
            file === files.at(-1) && offset >= Math.max(fileHeaderBytes, size - lastGroupBytes)
          const found = await readBack(directory)
          if (!isInLastGroup) {
            expect(found).toBe('corrupted')
            return
          }
          if (found === 'corrupted') throw new Error('a torn tail is no corruption')
          const count = expectPrefix(found, records)
          expect(count).toBeGreaterThanOrEqual(settledCount)
          expect(count).toBeLessThan(records.length)
          await appendMore(directory)
        })
      },
    ),
    { numRuns: 60 },
  )
})

test('after closing in order no byte may be missing', async () => {
  await fc.assert(
    fc.asyncProperty(groups, fc.nat(100_000), fc.boolean(), async (wanted, place, isCut) => {
      await inScratch(async (path) => {
        const { directory } = await write(path, wanted, 20_000, 'close')
        const last = (await logFiles(directory)).at(-1) ?? ''
        const offset = place % (await stat(last)).size
        if (isCut) await truncate(last, offset)
        else await flipByte(last, offset, 1)
        expect(await readBack(directory)).toBe('corrupted')
      })
    }),
    { numRuns: 20 },
  )
})

test('garbage after the end is cut off, also if it holds copies of frames', async () => {
  await inScratch(async (path) => {
    const sizes: Groups = [[[10]], [[2000, 3]], [[5]]]
    const { directory, records } = await write(path, sizes, 1_000_000, 'power failure')
    const [file = ''] = await logFiles(directory)
    const handle = await open(file, 'r+')
    const { size } = await handle.stat()
    const copy = Buffer.alloc(size - fileHeaderBytes)
    await handle.read(copy, 0, copy.length, fileHeaderBytes)
    await handle.write(copy, 0, copy.length, size)
    await handle.write(Buffer.alloc(5000), 0, 5000, size + copy.length)
    await handle.close()
    const found = await readBack(directory)
    if (found === 'corrupted') throw new Error('a torn tail is no corruption')
    expect(expectPrefix(found, records)).toBe(3)
    await appendMore(directory)
  })
})

test('a missing file is XX001', async () => {
  await inScratch(async (path) => {
    const sizes: Groups = [[[30_000]], [[30_000]], [[30_000]], [[30_000]]]
    const { directory } = await write(path, sizes, 20_000, 'power failure')
    const files = await logFiles(directory)
    expect(files.length).toBe(4)
    for (const file of files.slice(0, 3)) {
      await inScratch(async (other) => {
        await cp(directory, join(other, 'x'), {
          recursive: true,
          filter: (source) => source !== file,
        })
        expect(await readBack(join(other, 'x'))).toBe('corrupted')
      })
    }
  })
})

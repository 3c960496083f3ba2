/**
 * The dials of the in-memory stores, for every operation that changes something: what is refused is not done; after an
 * indeterminate failure reading tells which of the two it was. And the way to live with it: read, then try again.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StoreError } from '#base/errors.js'
import { systemRuntime } from '#base/system-runtime.js'
import { type Fault, type FaultKind, type FaultSource, noFault } from '#storage/faults.js'
import { MemoryMeta, MemoryMetaDisk } from '#storage/meta/memory/memory-meta.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'
import { MemoryWal, MemoryWalDisk } from '#storage/wal/memory/memory-wal.js'
import { readAllRecords } from '#storage/wal/wal.conformance.js'

const runtime = systemRuntime
const one = Uint8Array.of(1)

interface Stores {
  readonly wal: MemoryWal
  readonly meta: MemoryMeta
  readonly objects: MemoryObjects
  readonly directory: string
}

interface Case {
  readonly operation: string
  prepare?(stores: Stores): Promise<unknown>
  attempt(stores: Stores): Promise<unknown>
  isDone(stores: Stores): Promise<boolean>
}

const cases: readonly Case[] = [
  {
    operation: 'wal.openWriter',
    attempt: ({ wal }) => wal.openWriter('log/0'),
    // Terms rise by one here: one that was taken is missing.
    isDone: async ({ wal }) => (await wal.openWriter('log/0')).term === 2,
  },
  {
    operation: 'wal.append',
    attempt: async ({ wal }) => await (await wal.openWriter('log/0')).append([one]),
    isDone: async ({ wal }) => (await readAllRecords(wal)).length === 1,
  },
  {
    operation: 'wal.truncate',
    prepare: async ({ wal }) => await (await wal.openWriter('log/0')).append([one, one]),
    attempt: ({ wal }) => wal.truncate('log/0', 1),
    isDone: async ({ wal }) => (await readAllRecords(wal)).length === 1,
  },
  {
    operation: 'meta.write',
    attempt: ({ meta }) =>
      meta.write([{ key: 'a', revision: 0 }], [{ kind: 'put', key: 'a', value: one }]),
    isDone: async ({ meta }) => (await meta.get('a')) !== undefined,
  },
  {
    operation: 'objects.put',
    attempt: ({ objects }) => objects.put('a', one, { ifAbsent: true }),
    isDone: async ({ objects }) => (await objects.get('a')) !== undefined,
  },
  {
    operation: 'objects.putFile',
    prepare: ({ directory }) => writeFile(join(directory, 'file'), one),
    attempt: ({ objects, directory }) => objects.putFile('a', join(directory, 'file')),
    isDone: async ({ objects }) => (await objects.get('a')) !== undefined,
  },
  {
    operation: 'objects.delete',
    prepare: ({ objects }) => objects.put('a', one),
    attempt: ({ objects }) => objects.delete('a'),
    isDone: async ({ objects }) => (await objects.get('a')) === undefined,
  },
]

const kinds: readonly (readonly [Exclude<FaultKind, 'none'>, StoreError['outcome'], boolean])[] = [
  ['refused', 'determinate', false],
  ['lost', 'indeterminate', false],
  ['done-unknown', 'indeterminate', true],
]

describe.each(cases)('$operation', ({ operation, prepare, attempt, isDone }) => {
  test.each(kinds)('%s: told %s, done: %s', async (kind, outcome, done) => {
    const scratch = await scratchDirectory()
    let armed = false
    const faults: FaultSource = (asked): Fault =>
      armed && asked === operation ? { ...noFault, kind } : noFault
    const stores: Stores = {
      wal: new MemoryWal(new MemoryWalDisk(), { runtime, faults }),
      meta: new MemoryMeta(new MemoryMetaDisk(), { runtime, faults }),
      objects: new MemoryObjects(new MemoryObjectsDisk(), { runtime, faults }),
      directory: scratch.path,
    }
    try {
      await prepare?.(stores)
      armed = true
      await expect(attempt(stores)).rejects.toMatchObject({ outcome })
      armed = false
      expect(await isDone(stores)).toBe(done)
    } finally {
      await scratch.remove()
    }
  })
})

test.each(['wal.read', 'wal.endPosition', 'meta.get', 'meta.list', 'objects.get', 'objects.list'])(
  '%s changes nothing: its failures are determinate',
  async (operation) => {
    const faults: FaultSource = (asked) =>
      asked === operation ? { ...noFault, kind: 'done-unknown' } : noFault
    const wal = new MemoryWal(new MemoryWalDisk(), { runtime, faults })
    const meta = new MemoryMeta(new MemoryMetaDisk(), { runtime, faults })
    const objects = new MemoryObjects(new MemoryObjectsDisk(), { runtime, faults })
    const reads: Readonly<Record<string, () => Promise<unknown>>> = {
      'wal.read': () => readAllRecords(wal),
      'wal.endPosition': () => wal.endPosition('log/0'),
      'meta.get': () => meta.get('a'),
      'meta.list': () => meta.list(''),
      'objects.get': () => objects.get('a'),
      'objects.list': () => objects.list('')[Symbol.asyncIterator]().next(),
    }
    await expect(reads[operation]?.()).rejects.toMatchObject({ outcome: 'determinate' })
  },
)

const anyKinds = fc.array(
  fc.constantFrom<FaultKind>('none', 'none', 'refused', 'lost', 'done-unknown'),
  { maxLength: 40 },
)

/** Faults in this order, then none. */
function inOrder(drawn: readonly FaultKind[]): FaultSource {
  let next = 0
  return () => ({ ...noFault, kind: drawn[next++] ?? 'none' })
}

test('meta: who reads after an indeterminate write and tries again does it exactly once', async () => {
  await fc.assert(
    fc.asyncProperty(anyKinds, async (drawn) => {
      const disk = new MemoryMetaDisk()
      const meta = new MemoryMeta(disk, { runtime, faults: inOrder(drawn) })
      const clean = new MemoryMeta(disk, { runtime })
      const read = async () => {
        const entry = await clean.get('list')
        const names = Buffer.from(entry?.value ?? []).toString()
        return { revision: entry?.revision ?? 0, names: names === '' ? [] : names.split(',') }
      }
      const add = async (name: string) => {
        for (;;) {
          const { revision, names } = await read()
          if (names.includes(name)) return
          const value = Buffer.from([...names, name].join(','))
          await meta
            .write([{ key: 'list', revision }], [{ kind: 'put', key: 'list', value }])
            .catch((error: unknown) => expect(error).toBeInstanceOf(StoreError))
        }
      }
      const wanted = ['a', 'b', 'c', 'd', 'e', 'f']
      await Promise.all(wanted.map(add))
      expect((await read()).names.sort()).toEqual(wanted)
    }),
    { numRuns: 60 },
  )
})

test('log: who opens a writer anew after an indeterminate append and reads has each record once', async () => {
  await fc.assert(
    fc.asyncProperty(anyKinds, async (drawn) => {
      const disk = new MemoryWalDisk()
      const wal = new MemoryWal(disk, { runtime, faults: inOrder(drawn) })
      const clean = new MemoryWal(disk, { runtime })
      for (let n = 0; n < 6; n += 1) {
        for (;;) {
          const records = await readAllRecords(clean)
          if (records.some(({ payload }) => payload[0] === n)) break
          await wal
            .openWriter('log/0')
            .then((writer) => writer.append([Uint8Array.of(n)]))
            .catch((error: unknown) => expect(error).toBeInstanceOf(StoreError))
        }
      }
      const payloads = (await readAllRecords(clean)).map(({ payload }) => payload[0])
      expect(payloads).toEqual([0, 1, 2, 3, 4, 5])
    }),
    { numRuns: 60 },
  )
})

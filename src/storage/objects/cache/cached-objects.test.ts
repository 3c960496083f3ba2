import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Runtime } from '#base/runtime.js'
import { systemRuntime } from '#base/system-runtime.js'
import { noFaults } from '#storage/faults.js'
import { openCachedObjects } from '#storage/objects/cache/cached-objects.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { objectsConformance } from '#storage/objects/objects.conformance.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

/** Far apart enough that every copy may go. */
function slowClock() {
  let ms = 0
  return {
    ...systemRuntime,
    monotonicMs: () => {
      ms += 60_000
      return ms
    },
  }
}

async function openOver(
  disk: MemoryObjectsDisk,
  directory: string,
  bytesMax: number,
  runtime: Pick<Runtime, 'nowMs' | 'monotonicMs'> = slowClock(),
) {
  // No local directory of its own: what is mapped comes from the cache.
  const objects = new MemoryObjects(disk, { runtime: systemRuntime, faults: noFaults })
  return await openCachedObjects({ objects, directory, bytesMax, runtime })
}

objectsConformance('a cached object store', async () => {
  const scratch = await scratchDirectory()
  const filesDirectory = join(scratch.path, 'files')
  await mkdir(filesDirectory)
  const disk = new MemoryObjectsDisk()
  // What was given out a moment ago stays, though it is beyond the bound: the clock is the real one.
  let objects = await openOver(disk, join(scratch.path, 'cache'), 8, systemRuntime)
  return {
    objects,
    filesDirectory,
    reopen: async () => {
      await objects.close()
      objects = await openOver(disk, join(scratch.path, 'cache'), 8, systemRuntime)
      return objects
    },
    cleanup: () => scratch.remove(),
  }
})

async function read(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : await readFile(path, 'utf8')
}

test('whatever is put, mapped and deleted, also by others at the same time: right bytes within the bound', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constantFrom('put', 'file'), name: fc.nat(5), size: fc.nat(30) }),
    fc.record({ kind: fc.constant('map'), name: fc.nat(5), size: fc.constant(0) }),
    fc.record({ kind: fc.constant('delete'), name: fc.nat(5), size: fc.constant(0) }),
    fc.record({ kind: fc.constant('reopen'), name: fc.constant(0), size: fc.constant(0) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const scratch = await scratchDirectory()
      const directory = join(scratch.path, 'cache')
      const disk = new MemoryObjectsDisk()
      const model = new Map<string, string>()
      let objects = await openOver(disk, directory, 60)
      let version = 0
      for (const { kind, name: number, size } of steps) {
        const name = `t/${number}`
        const content = `${version++}`.padEnd(size, 'x')
        if (kind === 'put') {
          await objects.put(name, Buffer.from(content))
          model.set(name, content)
        } else if (kind === 'file') {
          const path = join(scratch.path, 'file')
          await writeFile(path, content)
          await objects.putFile(name, path)
          model.set(name, content)
        } else if (kind === 'delete') {
          await objects.delete(name)
          model.delete(name)
        } else if (kind === 'reopen') {
          await objects.close()
          objects = await openOver(disk, directory, 60)
        } else {
          const names = [name, 't/0', name]
          const found = await Promise.all(
            names.map(async (one) => await read(await objects.localPath(one)).catch(() => 'gone')),
          )
          for (const [i, one] of names.entries()) {
            expect([model.get(one), 'gone']).toContain(found[i])
          }
          expect(await read(await objects.localPath(name))).toBe(model.get(name))
        }
        const { usedBytes, objectCount } = objects.cache()
        expect(usedBytes).toBeLessThanOrEqual(60)
        expect((await readdir(directory)).length).toBe(objectCount + 1)
      }
      await objects.close()
      await scratch.remove()
    }),
    { numRuns: 40 },
  )
})

test('a copy is fetched once, kept over a restart, and not trusted when it is damaged', async () => {
  const scratch = await scratchDirectory()
  const disk = new MemoryObjectsDisk()
  let objects = await openOver(disk, scratch.path, 1000)
  await objects.put('a', Buffer.from('whole'))
  const paths = await Promise.all([1, 2, 3].map(() => objects.localPath('a')))
  expect(new Set(paths).size).toBe(1)
  expect(objects.cache().fetches).toBe(1)
  await objects.close()

  objects = await openOver(disk, scratch.path, 1000)
  expect(await read(await objects.localPath('a'))).toBe('whole')
  expect(objects.cache().fetches).toBe(0)
  await objects.close()

  await writeFile(paths[0] ?? '', 'whale')
  await writeFile(join(scratch.path, '.tmp', '1'), 'half')
  objects = await openOver(disk, scratch.path, 1000)
  expect(await read(await objects.localPath('a'))).toBe('whole')
  expect(objects.cache().fetches).toBe(1)
  expect(await readdir(join(scratch.path, '.tmp'))).toEqual([])
  await objects.close()
  await scratch.remove()
})

test('what was put as a file is not fetched', async () => {
  const scratch = await scratchDirectory()
  const objects = await openOver(new MemoryObjectsDisk(), join(scratch.path, 'cache'), 1000)
  await writeFile(join(scratch.path, 'file'), 'bytes')
  await objects.putFile('a', join(scratch.path, 'file'))
  expect(await read(await objects.localPath('a'))).toBe('bytes')
  expect(objects.cache().fetches).toBe(0)
  await objects.close()
  await scratch.remove()
})

test('those given out longest ago go first; one given out a moment ago stays', async () => {
  const scratch = await scratchDirectory()
  let ms = 0
  const runtime = { ...systemRuntime, monotonicMs: () => ms }
  const objects = await openOver(new MemoryObjectsDisk(), scratch.path, 10, runtime)
  for (const name of ['a', 'b', 'c']) await objects.put(name, Buffer.from('12345'))
  for (const name of ['a', 'b', 'a']) {
    ms += 1000
    await objects.localPath(name)
  }
  await objects.localPath('c')
  expect(objects.cache()).toMatchObject({ objectCount: 3, usedBytes: 15 })
  ms += 60_000
  await objects.localPath('a')
  await objects.put('d', Buffer.from('1'))
  await objects.localPath('d')
  expect(objects.cache()).toMatchObject({ objectCount: 2, usedBytes: 6, evictions: 2 })
  const { fetches } = objects.cache()
  await objects.localPath('a')
  expect(objects.cache().fetches).toBe(fetches)
  await objects.close()
  await scratch.remove()
})

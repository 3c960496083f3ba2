import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemRuntime } from '#base/system-runtime.js'
import { type Fault, noFault } from '#storage/faults.js'
import { MemoryObjects, MemoryObjectsDisk } from '#storage/objects/memory/memory-objects.js'
import { objectsConformance } from '#storage/objects/objects.conformance.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

const runtime = systemRuntime

objectsConformance('the object store in memory', async () => {
  const scratch = await scratchDirectory()
  const filesDirectory = join(scratch.path, 'files')
  await mkdir(filesDirectory)
  const disk = new MemoryObjectsDisk()
  const options = { runtime, localDirectory: join(scratch.path, 'local') }
  let objects = new MemoryObjects(disk, options)
  return {
    objects,
    filesDirectory,
    reopen: async () => {
      await objects.close()
      objects = new MemoryObjects(disk, options)
      return objects
    },
    another: () => new MemoryObjects(disk, { runtime }),
    cleanup: () => scratch.remove(),
  }
})

test.each([
  ['refused', 'determinate', false],
  ['lost', 'indeterminate', false],
  ['done-unknown', 'indeterminate', true],
] as const)('%s: %s, done: %s', async (kind, outcome, isDone) => {
  const faults = (operation: string): Fault =>
    operation === 'objects.put' ? { ...noFault, kind } : noFault
  const objects = new MemoryObjects(new MemoryObjectsDisk(), { runtime, faults })
  await expect(objects.put('a', Uint8Array.of(1))).rejects.toMatchObject({ outcome })
  expect((await objects.get('a')) !== undefined).toBe(isDone)
})

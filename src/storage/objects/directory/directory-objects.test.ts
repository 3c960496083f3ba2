import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDirectoryObjects } from '#storage/objects/directory/directory-objects.js'
import { objectsConformance } from '#storage/objects/objects.conformance.js'
import { scratchDirectory } from '#storage/scratch.conformance.js'

objectsConformance('the directory of objects', async () => {
  const scratch = await scratchDirectory()
  const filesDirectory = join(scratch.path, 'files')
  const directory = join(scratch.path, 'objects')
  await mkdir(filesDirectory)
  let objects = await openDirectoryObjects(directory)
  return {
    objects,
    filesDirectory,
    reopen: async () => {
      await objects.close()
      objects = await openDirectoryObjects(directory)
      return objects
    },
    cleanup: () => scratch.remove(),
  }
})

test('what a crash left half written is swept at open, and never listed', async () => {
  const scratch = await scratchDirectory()
  await mkdir(join(scratch.path, '.tmp'))
  await writeFile(join(scratch.path, '.tmp', '17'), 'half')
  const objects = await openDirectoryObjects(scratch.path)
  expect(await readdir(join(scratch.path, '.tmp'))).toEqual([])
  await objects.put('a', Uint8Array.of(1))
  await expect(objects.put('a/b', Uint8Array.of(1))).rejects.toMatchObject({
    outcome: 'determinate',
  })
  expect(await readdir(join(scratch.path, '.tmp'))).toEqual([])
  await scratch.remove()
})

test('folders go with their last object', async () => {
  const scratch = await scratchDirectory()
  const objects = await openDirectoryObjects(scratch.path)
  await objects.put('a/b/c', Uint8Array.of(1))
  await objects.put('a/d', Uint8Array.of(1))
  await objects.delete('a/b/c')
  expect(await readdir(join(scratch.path, 'a'))).toEqual(['d'])
  await scratch.remove()
})

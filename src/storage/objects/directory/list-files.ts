import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf, ioError } from '#storage/io-error.js'
import { mayBeginNames } from '#storage/objects/object-name.js'

/** Files below `root` as objects, in byte order of the whole name: so 'a.b' comes before what is in the folder 'a'. */
export async function* listObjectFiles(
  root: string,
  prefix: string,
): AsyncIterable<{ readonly name: string; readonly size: number }> {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  if (!mayBeginNames(prefix)) return
  yield* listFolder(root, folder, prefix)
}

/** @param folder '' or ending with '/' */
async function* listFolder(
  root: string,
  folder: string,
  prefix: string,
): AsyncIterable<{ readonly name: string; readonly size: number }> {
  for (const name of await sortedNames(root, folder)) {
    if (!name.startsWith(prefix) && !prefix.startsWith(name)) continue
    if (name.endsWith('/')) {
      yield* listFolder(root, name, prefix)
      continue
    }
    const size = name.startsWith(prefix) ? await sizeOf(join(root, name)) : undefined
    if (size !== undefined) yield { name, size }
  }
}

/** Whole names of what is in the folder; those of folders end with '/'. */
async function sortedNames(root: string, folder: string): Promise<string[]> {
  try {
    const entries = await readdir(join(root, folder), { withFileTypes: true })
    const names = entries
      .filter((entry) => !entry.name.startsWith('.'))
      .map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
    return names.sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)))
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return []
    throw ioError('determinate', `could not list objects in "${folder}"`, error)
  }
}

/** undefined when it was deleted meanwhile. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw ioError('determinate', `could not access object file "${path}"`, error)
  }
}

/** A folder of backups, or a server's objects, from here: a directory or S3. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { systemRuntime } from '#base/system-runtime.js'
import { openObjects } from '#open-stores.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface OpenFolder {
  readonly objects: ObjectStore
  close(): Promise<void>
}

const cacheBytes = 64 * 2 ** 20

export async function openFolder(given: string, scratch: string): Promise<OpenFolder> {
  const url = /^[a-z0-9]+:\/\//.test(given) ? given : `directory://${resolve(given)}`
  const data = await mkdtemp(join(scratch, 'store-'))
  const objects = await openObjects({ data, objects: url, cache: cacheBytes }, systemRuntime)
  return { objects, close: () => objects.close() }
}

/** A folder for files on their way; gone afterwards. */
export async function withScratch<T>(work: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = await mkdtemp(join(tmpdir(), 'elanus-backup-'))
  try {
    return await work(scratch)
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

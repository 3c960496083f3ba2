import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A directory of a test's own; removed with all that is in it by remove(). */
export async function scratchDirectory(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'elanus-storage-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

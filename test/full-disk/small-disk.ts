/** A file system of its own that is as small as a test wants it (tmpfs): filled by the test, freed by the test. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface SmallDisk {
  readonly path: string
  /** Writes until nothing more fits. @param leave that many bytes are given back */
  fill(leave?: number): Promise<void>
  /** Gives back what fill() took. */
  free(): Promise<void>
  /** The processes that write there have ended. */
  unmount(): void
}

/** @param at a folder of its own unless given @returns why there can be none, in words */
export function mountSmallDisk(megabytes: number, at?: string): SmallDisk | string {
  if (process.getuid?.() !== 0) return 'mounting a file system needs root'
  const path = at ?? mkdtempSync(join(tmpdir(), 'elanus-small-disk-'))
  mkdirSync(path, { recursive: true })
  const { status, stderr } = run('mount', [
    '-t',
    'tmpfs',
    '-o',
    `size=${megabytes}m`,
    'elanus-test',
    path,
  ])
  if (status !== 0) {
    rmSync(path, { recursive: true })
    return `tmpfs cannot be mounted here: ${(stderr ?? '').trim()}`
  }
  const filler = join(path, 'filler')
  let mounted = true
  const unmount = (): void => {
    if (!mounted) return
    mounted = false
    // Lazily: a process that is being killed may still have files open.
    run('umount', ['--lazy', path])
    rmSync(path, { recursive: true, force: true })
  }
  process.once('exit', unmount)
  return {
    path,
    async fill(leave = 0) {
      const handle = await open(filler, 'a')
      try {
        // The last page counts.
        for (let size = 1024 * 1024; size >= 4096; size /= 2) {
          const bytes = Buffer.alloc(size, 1)
          while (await fits(() => handle.write(bytes))) {}
        }
        if (leave > 0) await handle.truncate(Math.max(0, (await handle.stat()).size - leave))
      } finally {
        await handle.close()
      }
    },
    free: () => rm(filler, { force: true }),
    unmount() {
      process.off('exit', unmount)
      unmount()
    },
  }
}

function run(program: string, args: readonly string[]) {
  return spawnSync(program, args, { encoding: 'utf8' })
}

async function fits(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write()
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false
    throw error
  }
}

/**
 * One process at a time per data directory.
 *
 * `elanus.pid` holds, a line each: process id, start time of the process, boot id of the machine (both empty where the
 * system has no /proc). It is stale when that process is gone, or another one has its number by now — in a container every
 * process is number 1. Processes in different containers cannot see each other: two of them must not share a volume.
 */
import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { StoreError } from '#base/errors.js'
import { errnoOf, ioError } from '#storage/io-error.js'

export interface DataDirectoryLock {
  release(): Promise<void>
}

const fileName = 'elanus.pid'
const attemptCountMax = 10
/** Held by this process: its own number in a lock file says nothing otherwise. */
const heldHere = new Set<string>()
let attemptNumber = 0

/** Makes the directory if it is missing. @throws StoreError `data directory is in use by process N` */
export async function acquireDataDirectoryLock(directory: string): Promise<DataDirectoryLock> {
  const path = join(resolve(directory), fileName)
  if (heldHere.has(path)) throw inUse(directory, process.pid)
  heldHere.add(path)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await takeLockFile(path, directory)
  } catch (error) {
    heldHere.delete(path)
    if (error instanceof StoreError) throw error
    throw ioError('determinate', `could not lock data directory "${directory}"`, error)
  }
  return {
    release: async () => {
      if (!heldHere.delete(path)) return
      await rm(path, { force: true })
    },
  }
}

async function takeLockFile(path: string, directory: string): Promise<void> {
  const content = await describeProcess(process.pid)
  attemptNumber += 1
  const own = `${path}.${process.pid}.${attemptNumber}`
  const handle = await open(own, 'w', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
    for (let attempt = 0; attempt < attemptCountMax; attempt += 1) {
      // A link appears with its content, and only if the name is free.
      if (await linkIfFree(own, path)) return
      const holder = await readIfThere(path)
      if (holder === undefined) continue
      const pid = await livingHolder(holder, content)
      if (pid !== undefined) throw inUse(directory, pid)
      await removeStale(path, holder, `${own}.stale`)
    }
    throw new StoreError('determinate', `could not lock data directory "${directory}"`)
  } finally {
    await handle.close()
    await rm(own, { force: true })
  }
}

function inUse(directory: string, pid: number): StoreError {
  return new StoreError('determinate', `data directory is in use by process ${pid}: "${directory}"`)
}

/** Of several that find the same stale file one takes it away; whoever took a fresh one by mistake puts it back. */
async function removeStale(path: string, holder: string, aside: string): Promise<void> {
  try {
    await rename(path, aside)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  if ((await readIfThere(aside)) !== holder) await linkIfFree(aside, path)
  await rm(aside, { force: true })
}

/** The holder's process id, if it is the same process still. */
async function livingHolder(holder: string, own: string): Promise<number | undefined> {
  const pid = Number.parseInt(holder, 10)
  if (!(pid > 0) || holder === own) return undefined
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') return undefined
  }
  if (pid === process.pid) return undefined
  return (await describeProcess(pid)) === holder ? pid : undefined
}

async function describeProcess(pid: number): Promise<string> {
  const stat = await readIfThere(`/proc/${pid}/stat`)
  // Field 22, counted after the command's name, which may hold blanks (proc(5)).
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  // Killed, and not asked after by its parent yet: it holds nothing any more.
  const startTime = fields[0] === 'Z' ? 'ended' : (fields[19] ?? '')
  const bootId = (await readIfThere('/proc/sys/kernel/random/boot_id'))?.trim() ?? ''
  return `${pid}\n${startTime}\n${bootId}\n`
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined
    throw error
  }
}

async function linkIfFree(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false
    throw error
  }
}

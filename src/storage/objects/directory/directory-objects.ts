/**
 * Objects as files below a directory; the name is the path.
 *
 * Put: write a file in `.tmp`, fsync it, rename it (or link it, when it must not replace), fsync its directory and those
 * that may have been made. So OBJ-2: a reader sees a whole object or none, and what was acknowledged survives.
 * Crash: what is in `.tmp` at open belongs to nobody and is removed. Deletes are not synced: an object that comes back after
 * loss of power is garbage that the collector finds again.
 * Concurrency: puts of one name: the last rename stands. Empty directories are removed with their last object; a put that
 * loses its directory that way makes it again.
 */
import { rmdirSync } from 'node:fs'
import {
  copyFile,
  type FileHandle,
  link,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Gate } from '#base/async/gate.js'
import { invariant, StoreError } from '#base/errors.js'
import { makeDirectory, readAll, syncDirectory, writeAll } from '#storage/durable-files.js'
import { errnoOf, ioError } from '#storage/io-error.js'
import { listObjectFiles } from '#storage/objects/directory/list-files.js'
import { checkObjectName } from '#storage/objects/object-name.js'
import type { ObjectStore } from '#storage/objects/objects.js'

const temporaryName = '.tmp'
/** How often a put makes its directory again when deletes take it away. */
const attemptCountMax = 10

export interface DirectoryOptions {
  /**
   * Other processes put and delete there, too: each has temporary files of its own, and those of one that has died stay. Without
   * it the caller holds the data directory's lock.
   */
  readonly isShared?: boolean
}

export async function openDirectoryObjects(
  directory: string,
  { isShared = false }: DirectoryOptions = {},
): Promise<ObjectStore> {
  const root = resolve(directory)
  let temporary = join(root, temporaryName)
  try {
    await makeDirectory(root)
    if (!isShared) await rm(temporary, { recursive: true, force: true })
    await mkdir(temporary, { mode: 0o700, recursive: isShared })
    if (isShared) temporary = await mkdtemp(join(temporary, 'process-'))
  } catch (error) {
    throw ioError('determinate', `could not open object directory "${directory}"`, error)
  }
  return new DirectoryObjects(root, temporary)
}

class DirectoryObjects implements ObjectStore {
  readonly #root: string
  readonly #temporary: string
  readonly #gate = new Gate()
  /** Directories whose own names are durable. */
  readonly #durable = new Set<string>()
  #temporaryCount = 0

  constructor(root: string, temporary: string) {
    this.#root = root
    this.#temporary = temporary
    this.#durable.add(root)
  }

  put(name: string, bytes: Uint8Array, options: { readonly ifAbsent?: boolean } = {}) {
    return this.#inside(async () => {
      const path = this.#path(name)
      const temporary = this.#temporaryPath()
      try {
        await determinate(name, () => writeSynced(temporary, bytes))
        if (options.ifAbsent !== true) return await this.#place(name, path, temporary, rename)
        return await this.#place(name, path, temporary, link)
      } finally {
        await rm(temporary, { force: true })
      }
    })
  }

  putFile(name: string, source: string): Promise<void> {
    return this.#inside(async () => {
      const path = this.#path(name)
      await determinate(name, () => syncFile(source))
      try {
        await this.#place(name, path, source, rename)
      } catch (error) {
        if (!(error instanceof StoreError) || errnoOf(error.cause) !== 'EXDEV') throw error
        await this.#putCopy(name, path, source)
      }
    })
  }

  /** The file lies on another file system. */
  async #putCopy(name: string, path: string, source: string): Promise<void> {
    const temporary = this.#temporaryPath()
    try {
      await determinate(name, async () => {
        await copyFile(source, temporary)
        await syncFile(temporary)
      })
      await this.#place(name, path, temporary, rename)
    } finally {
      await rm(temporary, { force: true })
    }
    await rm(source, { force: true })
  }

  get(name: string): Promise<Uint8Array | undefined> {
    return this.#read(name, async (path) => {
      const bytes = await readFile(path)
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
    })
  }

  getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    return this.#read(name, async (path) => {
      const handle = await open(path, 'r')
      try {
        const { size } = await handle.stat()
        const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)))
        const filled = await readAll(handle, bytes, offset)
        invariant('OBJ-2', filled === bytes.length, 'an object does not change')
        return bytes
      } finally {
        await handle.close()
      }
    })
  }

  localPath(name: string): Promise<string | undefined> {
    return this.#read(name, async (path) => ((await stat(path)).isFile() ? path : undefined))
  }

  async *list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    await this.#inside(async () => {})
    yield* listObjectFiles(this.#root, prefix)
  }

  delete(name: string): Promise<void> {
    return this.#inside(async () => {
      const path = this.#path(name)
      const existed = await ifThere(name, async () => {
        await unlink(path)
        return true
      })
      if (existed === true) this.#removeEmptyDirectories(dirname(path))
    })
  }

  async close(): Promise<void> {
    await this.#gate.close()
  }

  /** Gives the finished file its name. `move` is rename, or link where an existing object stays. */
  async #place(
    name: string,
    path: string,
    temporary: string,
    move: (from: string, to: string) => Promise<void>,
  ): Promise<'stored' | 'exists'> {
    const directory = dirname(path)
    let outcome: 'stored' | 'exists' = 'stored'
    await determinate(name, async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await mkdir(directory, { recursive: true, mode: 0o700 })
          await move(temporary, path)
          return
        } catch (error) {
          if (move === link && errnoOf(error) === 'EEXIST') {
            outcome = 'exists'
            return
          }
          if (errnoOf(error) !== 'ENOENT' || attempt === attemptCountMax) throw error
        }
      }
    })
    try {
      // Also when it exists: whoever put it may not have come this far.
      await this.#syncNames(directory)
    } catch (error) {
      throw ioError('indeterminate', `could not sync directory of object "${name}"`, error)
    }
    return outcome
  }

  async #syncNames(directory: string): Promise<void> {
    await syncDirectory(directory)
    const made: string[] = []
    for (let at = directory; !this.#durable.has(at); at = dirname(at)) made.push(at)
    for (const at of made) await syncDirectory(dirname(at))
    for (const at of made) this.#durable.add(at)
  }

  /** Synchronous, so that no put sees a directory as durable that is gone. */
  #removeEmptyDirectories(directory: string): void {
    for (let at = directory; at !== this.#root; at = dirname(at)) {
      try {
        rmdirSync(at)
      } catch {
        return
      }
      this.#durable.delete(at)
    }
  }

  /** undefined when there is no such object. */
  #read<T>(name: string, read: (path: string) => Promise<T>): Promise<T | undefined> {
    return this.#inside(() => ifThere(name, () => read(this.#path(name))))
  }

  #path(name: string): string {
    checkObjectName(name)
    return join(this.#root, ...name.split('/'))
  }

  #temporaryPath(): string {
    this.#temporaryCount += 1
    return join(this.#temporary, String(this.#temporaryCount))
  }

  async #inside<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#gate.enter()) throw new StoreError('determinate', 'the object store is closed')
    try {
      return await work()
    } finally {
      this.#gate.leave()
    }
  }
}

async function determinate(name: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw ioError('determinate', `could not write object "${name}"`, error)
  }
}

/** undefined when there is no such file. A folder is no object. */
async function ifThere<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    const code = errnoOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    throw ioError('determinate', `could not access object "${name}"`, error)
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  await withFile(path, 'w', async (handle) => {
    await writeAll(handle, [bytes], 0, false)
    await handle.sync()
  })
}

async function syncFile(path: string): Promise<void> {
  await withFile(path, 'r+', (handle) => handle.sync())
}

async function withFile(
  path: string,
  flags: string,
  work: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const handle = await open(path, flags, 0o600)
  try {
    await work(handle)
  } finally {
    await handle.close()
  }
}

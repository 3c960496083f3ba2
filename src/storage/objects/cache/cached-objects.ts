/**
 * An object store whose objects are mapped from a bounded directory of copies: for stores that have no local files (S3).
 *
 *   <directory>/<SHA-256 of the object's name>-<CRC-32 of its bytes>
 *
 * 1. localPath: a copy that is here is given out, the first time in this process after its bytes were compared with the CRC.
 *    Otherwise it is fetched, once however many ask, in pieces to a temporary file, synced, renamed.
 * 2. putFile keeps the file that was put as the copy: what was just written is not fetched again.
 * 3. When copies take more than the bound, those given out longest ago are removed. One given out a moment ago stays: whoever
 *    asked may not have mapped it yet. One that is mapped may go: the system keeps its bytes until it is unmapped.
 *
 * Objects are immutable: a name that is put again here loses its copy, put elsewhere it must have another name.
 * Crash: names say what is whole. What is in `.tmp` is swept at open; a copy that does not match its CRC is fetched again.
 * Concurrency: one process per directory.
 */
import { createHash } from 'node:crypto'
import { copyFile, link, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { StoreError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { makeDirectory, writeAll } from '#storage/durable-files.js'
import { ioError } from '#storage/io-error.js'
import { checkObjectName } from '#storage/objects/object-name.js'
import type { ObjectStore, RemoteObjects } from '#storage/objects/objects.js'

/** What is fetched, read and written at a time. */
const pieceBytes = 8 * 1024 * 1024
/** A copy is not removed so soon after it was given out. */
const keptMs = 10_000

export interface CachedObjectsOptions {
  readonly objects: RemoteObjects
  readonly directory: string
  readonly bytesMax: number
  readonly runtime: Pick<Runtime, 'nowMs' | 'monotonicMs'>
}

export interface CachedObjects extends ObjectStore {
  cache(): CacheFigures
}

export interface CacheFigures {
  readonly budgetBytes: number
  readonly usedBytes: number
  readonly objectCount: number
  /** Since the start: objects fetched, and copies removed for room. */
  readonly fetches: number
  readonly evictions: number
}

interface Copy {
  readonly path: string
  readonly bytes: number
  readonly crc: number
  verified: boolean
  givenOutMs: number
}

export async function openCachedObjects(options: CachedObjectsOptions): Promise<CachedObjects> {
  const { directory } = options
  const temporary = join(directory, '.tmp')
  try {
    await makeDirectory(directory)
    await rm(temporary, { recursive: true, force: true })
    await mkdir(temporary, { mode: 0o700 })
    const copies = new LocalCopies(options, temporary, await findCopies(directory))
    await copies.trim()
    return copies
  } catch (error) {
    throw ioError('determinate', `could not open cache directory "${directory}"`, error)
  }
}

/** By key, those given out longest ago first. */
async function findCopies(directory: string): Promise<Map<string, Copy>> {
  const found: { readonly key: string; readonly copy: Copy; readonly usedMs: number }[] = []
  for (const name of await readdir(directory)) {
    const [, key, crc] = /^([0-9a-f]{64})-([0-9a-f]{8})$/.exec(name) ?? []
    if (key === undefined || crc === undefined) continue
    const path = join(directory, name)
    const { size, mtimeMs } = await stat(path)
    const copy = {
      path,
      bytes: size,
      crc: Number.parseInt(crc, 16),
      verified: false,
      givenOutMs: Number.NEGATIVE_INFINITY,
    }
    found.push({ key, copy, usedMs: mtimeMs })
  }
  found.sort((a, b) => a.usedMs - b.usedMs)
  return new Map(found.map(({ key, copy }) => [key, copy]))
}

class LocalCopies implements CachedObjects {
  readonly #objects: RemoteObjects
  readonly #directory: string
  readonly #temporary: string
  readonly #bytesMax: number
  readonly #runtime: Pick<Runtime, 'nowMs' | 'monotonicMs'>
  /** In the order in which they were given out last. */
  readonly #copies: Map<string, Copy>
  readonly #coming = new Map<string, Promise<string | undefined>>()
  /** Keys of those coming that were put or deleted meanwhile. */
  readonly #outdated = new Set<string>()
  #usedBytes = 0
  #temporaryCount = 0
  #fetches = 0
  #evictions = 0

  constructor(options: CachedObjectsOptions, temporary: string, copies: Map<string, Copy>) {
    this.#objects = options.objects
    this.#directory = options.directory
    this.#bytesMax = options.bytesMax
    this.#runtime = options.runtime
    this.#temporary = temporary
    this.#copies = copies
    for (const { bytes } of copies.values()) this.#usedBytes += bytes
  }

  cache(): CacheFigures {
    return {
      budgetBytes: this.#bytesMax,
      usedBytes: this.#usedBytes,
      objectCount: this.#copies.size,
      fetches: this.#fetches,
      evictions: this.#evictions,
    }
  }

  async put(name: string, bytes: Uint8Array, options?: { readonly ifAbsent?: boolean }) {
    const outcome = await this.#objects.put(name, bytes, options)
    if (outcome === 'stored') await this.#changed(keyOf(name))
    return outcome
  }

  async putFile(name: string, path: string): Promise<void> {
    checkObjectName(name)
    // The store may move the file away.
    const temporary = this.#temporaryPath()
    try {
      await linkOrCopy(path, temporary)
    } catch (error) {
      throw ioError('determinate', `could not read file "${path}"`, error)
    }
    try {
      await this.#objects.putFile(name, path)
      const key = keyOf(name)
      await this.#changed(key)
      const { bytes, crc } = await sumOf(temporary)
      await this.#keep(key, temporary, bytes, crc)
    } finally {
      await rm(temporary, { force: true })
    }
  }

  get(name: string): Promise<Uint8Array | undefined> {
    return this.#objects.get(name)
  }

  getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    return this.#objects.getRange(name, offset, length)
  }

  async localPath(name: string): Promise<string | undefined> {
    checkObjectName(name)
    const key = keyOf(name)
    const copy = this.#copies.get(key)
    if (copy?.verified === true) {
      this.#giveOut(key, copy)
      return copy.path
    }
    const coming = this.#coming.get(key) ?? this.#bring(name, key)
    this.#coming.set(key, coming)
    try {
      return await coming
    } finally {
      if (this.#coming.get(key) === coming) this.#coming.delete(key)
    }
  }

  list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    return this.#objects.list(prefix)
  }

  async delete(name: string): Promise<void> {
    await this.#objects.delete(name)
    await this.#changed(keyOf(name))
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#coming.values())
    await this.#objects.close()
  }

  /** Verifies the copy of an earlier process, or fetches the object. */
  async #bring(name: string, key: string): Promise<string | undefined> {
    const copy = this.#copies.get(key)
    if (copy !== undefined) {
      const sum = await sumOf(copy.path).catch(() => undefined)
      if (sum?.crc === copy.crc && sum.bytes === copy.bytes) {
        copy.verified = true
        this.#giveOut(key, copy)
        return copy.path
      }
      await this.#drop(key)
    }
    for (;;) {
      this.#outdated.delete(key)
      const path = await this.#fetch(name, key)
      if (!this.#outdated.delete(key)) return path
      await this.#drop(key)
    }
  }

  /** @returns undefined: there is no such object */
  async #fetch(name: string, key: string): Promise<string | undefined> {
    const temporary = this.#temporaryPath()
    try {
      const handle = await open(temporary, 'wx', 0o600)
      let bytes = 0
      let crc = 0
      try {
        for (;;) {
          const piece = await this.#objects.getRange(name, bytes, pieceBytes)
          if (piece === undefined) return undefined
          await writeAll(handle, [piece], bytes, false)
          crc = crc32(piece, crc)
          bytes += piece.byteLength
          if (piece.byteLength < pieceBytes) break
        }
        await handle.sync()
      } finally {
        await handle.close()
      }
      this.#fetches += 1
      return await this.#keep(key, temporary, bytes, crc)
    } catch (error) {
      if (error instanceof StoreError) throw error
      throw ioError('determinate', `could not keep a copy of object "${name}"`, error)
    } finally {
      await rm(temporary, { force: true })
    }
  }

  async #keep(key: string, temporary: string, bytes: number, crc: number): Promise<string> {
    const path = join(this.#directory, `${key}-${crc.toString(16).padStart(8, '0')}`)
    await rename(temporary, path)
    const copy = { path, bytes, crc, verified: true, givenOutMs: 0 }
    const before = this.#copies.get(key)
    if (before !== undefined) this.#usedBytes -= before.bytes
    this.#usedBytes += bytes
    this.#giveOut(key, copy)
    await this.trim()
    return path
  }

  #giveOut(key: string, copy: Copy): void {
    copy.givenOutMs = this.#runtime.monotonicMs()
    this.#copies.delete(key)
    this.#copies.set(key, copy)
    // For the order after a restart; nothing depends on it.
    const now = this.#runtime.nowMs() / 1000
    utimes(copy.path, now, now).catch(() => {})
  }

  async trim(): Promise<void> {
    const nowMs = this.#runtime.monotonicMs()
    for (const [key, { givenOutMs }] of this.#copies) {
      if (this.#usedBytes <= this.#bytesMax || nowMs - givenOutMs < keptMs) return
      this.#evictions += 1
      await this.#drop(key)
    }
  }

  async #drop(key: string): Promise<void> {
    const copy = this.#copies.get(key)
    if (copy === undefined) return
    this.#copies.delete(key)
    this.#usedBytes -= copy.bytes
    await rm(copy.path, { force: true })
  }

  /** The object is another or none: what is being fetched of it is old. */
  async #changed(key: string): Promise<void> {
    if (this.#coming.has(key)) this.#outdated.add(key)
    await this.#drop(key)
  }

  #temporaryPath(): string {
    this.#temporaryCount += 1
    return join(this.#temporary, String(this.#temporaryCount))
  }
}

function keyOf(name: string): string {
  return createHash('sha256').update(name).digest('hex')
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch {
    // Another file system.
    await copyFile(from, to)
  }
}

async function sumOf(path: string): Promise<{ readonly bytes: number; readonly crc: number }> {
  const handle = await open(path, 'r')
  try {
    const buffer = new Uint8Array(pieceBytes)
    let bytes = 0
    let crc = 0
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length)
      if (bytesRead === 0) return { bytes, crc }
      crc = crc32(buffer.subarray(0, bytesRead), crc)
      bytes += bytesRead
    }
  } finally {
    await handle.close()
  }
}

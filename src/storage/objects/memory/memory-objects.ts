/** The object store in memory, for tests and the simulator. The disk outlives its handles and may be shared, as S3 is. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StoreError } from '#base/errors.js'
import { compareBytes } from '#storage/byte-order.js'
import { FaultyPath, type MemoryStoreOptions, noFaults } from '#storage/faults.js'
import { ioError } from '#storage/io-error.js'
import { checkObjectName } from '#storage/objects/object-name.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export class MemoryObjectsDisk {
  readonly objects = new Map<string, Uint8Array>()
}

export interface MemoryObjectsOptions extends MemoryStoreOptions {
  /** Where localPath() puts copies; without it localPath() fails. */
  readonly localDirectory?: string
}

export class MemoryObjects implements ObjectStore {
  readonly #disk: MemoryObjectsDisk
  readonly #path: FaultyPath
  readonly #localDirectory: string | undefined
  #copies = 0

  constructor(disk: MemoryObjectsDisk, options: MemoryObjectsOptions) {
    this.#disk = disk
    this.#path = new FaultyPath(options.runtime, options.faults ?? noFaults)
    this.#localDirectory = options.localDirectory
  }

  async put(name: string, bytes: Uint8Array, options: { readonly ifAbsent?: boolean } = {}) {
    checkObjectName(name)
    // A Buffer's slice() is no copy.
    const copy = new Uint8Array(bytes)
    return await this.#path.write('objects.put', name, () => {
      if (options.ifAbsent === true && this.#disk.objects.has(name)) return 'exists'
      this.#disk.objects.set(name, copy)
      return 'stored'
    })
  }

  async putFile(name: string, path: string): Promise<void> {
    checkObjectName(name)
    this.#path.checkOpen()
    const bytes = await readFile(path).catch((error: unknown) => {
      throw ioError('determinate', `could not read file "${path}"`, error)
    })
    await this.#path.write('objects.putFile', name, () =>
      this.#disk.objects.set(name, new Uint8Array(bytes)),
    )
    await rm(path, { force: true })
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    checkObjectName(name)
    return await this.#path.read('objects.get', name, () => this.#disk.objects.get(name)?.slice())
  }

  async getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined> {
    checkObjectName(name)
    return await this.#path.read('objects.getRange', name, () =>
      this.#disk.objects.get(name)?.slice(offset, offset + length),
    )
  }

  async localPath(name: string): Promise<string | undefined> {
    const bytes = await this.get(name)
    if (bytes === undefined) return undefined
    if (this.#localDirectory === undefined) {
      throw new StoreError('determinate', 'this object store has no local directory')
    }
    const path = join(this.#localDirectory, ...name.split('/'))
    await mkdir(dirname(path), { recursive: true })
    // Renamed into place: a file that someone has mapped must not be cut short under them.
    this.#copies += 1
    const temporary = `${path}.${this.#copies}`
    await writeFile(temporary, bytes)
    await rename(temporary, path)
    return path
  }

  async *list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }> {
    const found = await this.#path.read('objects.list', prefix, () =>
      [...this.#disk.objects]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, bytes]) => ({ name, size: bytes.length }))
        .sort((left, right) => compareBytes(left.name, right.name)),
    )
    yield* found
  }

  async delete(name: string): Promise<void> {
    checkObjectName(name)
    await this.#path.write('objects.delete', name, () => this.#disk.objects.delete(name))
  }

  /** The process dies: nothing under way gets an answer. */
  crash(): void {
    this.#path.end('crashed')
  }

  async close(): Promise<void> {
    this.#path.end('closed')
  }
}

/** The local disk of a simulated process: temporary files and mapped objects, in memory, without threads. */
import { StoreError } from '#base/errors.js'
import type { LocalFile, LocalFiles } from '#nodes/data/local-files.js'

export class SimFiles implements LocalFiles {
  readonly #files = new Map<string, Uint8Array>()

  put(path: string, bytes: Uint8Array): void {
    this.#files.set(path, bytes)
  }

  get(path: string): Uint8Array | undefined {
    return this.#files.get(path)
  }

  /** @throws StoreError when there is no such file */
  read(path: string): Uint8Array {
    const bytes = this.#files.get(path)
    if (bytes === undefined) throw new StoreError('determinate', `no such file: ${path}`)
    return bytes
  }

  async emptyDirectory(path: string): Promise<void> {
    for (const name of this.#files.keys()) if (name.startsWith(`${path}/`)) this.#files.delete(name)
  }

  async open(path: string, flags: 'r' | 'wx'): Promise<LocalFile> {
    if (flags === 'wx') this.#files.set(path, new Uint8Array(0))
    let position = 0
    return {
      read: async (buffer, offset, length) => {
        const part = this.read(path).subarray(position, position + length)
        buffer.set(part, offset)
        position += part.byteLength
        return { bytesRead: part.byteLength }
      },
      write: async (buffer, offset, length) => {
        const before = this.read(path)
        const after = new Uint8Array(before.byteLength + length)
        after.set(before)
        after.set(buffer.subarray(offset, offset + length), before.byteLength)
        this.#files.set(path, after)
        return { bytesWritten: length }
      },
      close: async () => {},
    }
  }

  async size(path: string): Promise<number> {
    return this.read(path).byteLength
  }

  async remove(path: string): Promise<void> {
    this.#files.delete(path)
  }
}

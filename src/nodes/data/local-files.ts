/** The data node's temporary files: a small port, so that a simulation can run without a disk and without its threads. */
import { mkdir, open, rm, stat } from 'node:fs/promises'

export interface LocalFile {
  read(buffer: Uint8Array, offset: number, length: number): Promise<{ readonly bytesRead: number }>
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): Promise<{ readonly bytesWritten: number }>
  close(): Promise<void>
}

export interface LocalFiles {
  /** The directory is there and empty when it resolves. */
  emptyDirectory(path: string): Promise<void>
  /** 'r': from its beginning; 'wx': a new one. */
  open(path: string, flags: 'r' | 'wx'): Promise<LocalFile>
  /** In bytes. */
  size(path: string): Promise<number>
  /** Idempotent. */
  remove(path: string): Promise<void>
}

export const systemFiles: LocalFiles = {
  async emptyDirectory(path) {
    await rm(path, { recursive: true, force: true })
    await mkdir(path, { recursive: true, mode: 0o700 })
  },
  open: (path, flags) => open(path, flags, 0o600),
  size: async (path) => (await stat(path)).size,
  remove: (path) => rm(path, { force: true }),
}

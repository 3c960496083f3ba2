import { type FileHandle, open } from 'node:fs/promises'
import { readAll } from '#storage/durable-files.js'
import {
  decodeFrameHeader,
  type FrameHeader,
  isFramePayloadIntact,
} from '#storage/wal/embedded/frame.js'

export interface FrameBatch {
  /** Owned by the receiver. */
  readonly bytes: Buffer
  readonly frames: readonly { readonly offset: number; readonly header: FrameHeader }[]
  /** Offset in the file of the first byte of `bytes`. */
  readonly fileOffset: number
}

/**
 * Reads frames of one log file in order. `offset` and `position` always tell where the next frame is expected: when
 * next() gives undefined before `endOffset`, the bytes there are no valid frame.
 */
export class FrameReader {
  readonly #handle: FileHandle
  readonly #salt: number
  readonly #endOffset: number
  readonly #batchBytes: number
  offset: number
  position: number

  constructor(
    handle: FileHandle,
    salt: number,
    start: { readonly offset: number; readonly position: number },
    endOffset: number,
    batchBytes: number,
  ) {
    this.#handle = handle
    this.#salt = salt
    this.#endOffset = endOffset
    this.#batchBytes = batchBytes
    this.offset = start.offset
    this.position = start.position
  }

  /** The next valid frames, at least one; undefined at the end or where no valid frame begins. */
  async next(): Promise<FrameBatch | undefined> {
    const available = this.#endOffset - this.offset
    let wanted = Math.min(this.#batchBytes, available)
    while (wanted > 0) {
      const bytes = Buffer.allocUnsafeSlow(wanted)
      if ((await readAll(this.#handle, bytes, this.offset)) < wanted) return undefined
      const fileOffset = this.offset
      const { frames, needBytes } = this.#parse(bytes)
      if (frames.length > 0) return { bytes, frames, fileOffset }
      if (needBytes === undefined || needBytes > available) return undefined
      wanted = needBytes
    }
    return undefined
  }

  #parse(bytes: Buffer) {
    const frames: { readonly offset: number; readonly header: FrameHeader }[] = []
    let at = 0
    while (at < bytes.length) {
      const header = decodeFrameHeader(bytes, at, this.#salt)
      if (header === 'invalid') return { frames, needBytes: undefined }
      if ('needBytes' in header) return { frames, needBytes: header.needBytes }
      const totalBytes = header.headerBytes + header.payloadBytes
      if (header.firstPosition !== this.position) return { frames, needBytes: undefined }
      if (totalBytes > bytes.length - at) return { frames, needBytes: totalBytes }
      if (!isFramePayloadIntact(bytes, at, header)) return { frames, needBytes: undefined }
      frames.push({ offset: at, header })
      at += totalBytes
      this.offset += totalBytes
      this.position += header.recordCount
    }
    return { frames, needBytes: undefined }
  }
}

/** Opens for reading. undefined when the file is gone. */
export async function openForReading(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Puts a file plan into the object store under a name that its checksum decides.
 *
 * Small plans are joined in memory and put; large ones are written to a temporary file in bounded pieces (views of the
 * source, not copies) and handed over with putFile. Crash: a temporary file that is left belongs to nobody; the node
 * empties its temporary directory when it starts.
 */
import { join } from 'node:path'
import { type Context, checkCancelled } from '#base/context.js'
import { invariant } from '#base/errors.js'
import type { FilePlan } from '#engine/segment/arrow-file.js'
import { Checksum, checksumSliceBytes } from '#engine/segment/checksum.js'
import type { ObjectReference } from '#engine/segment/manifest.js'
import type { LocalFile, LocalFiles } from '#nodes/data/local-files.js'
import type { ObjectStore } from '#storage/objects/objects.js'

/** Above this a plan goes through a file. */
const joinedBytesMax = 4 * 1024 * 1024
/** Pieces below this are collected before they are written. */
const directPieceBytesMin = 64 * 1024

export interface ObjectWriter {
  readonly objects: ObjectStore
  readonly files: LocalFiles
  /** A path for a new temporary file, never given out before. */
  temporaryPath(): string
  /** For a name that no object ever had. */
  unique(): string
}

export async function writeObject(
  { objects, files, temporaryPath }: ObjectWriter,
  plan: FilePlan,
  nameOf: (checksum: string) => string,
  context: Context,
): Promise<ObjectReference> {
  if (plan.byteLength <= joinedBytesMax) {
    const bytes = joined(plan)
    const checksum = new Checksum()
    checksum.add(bytes)
    const name = nameOf(checksum.finish())
    await objects.put(name, bytes)
    return { name, bytes: bytes.byteLength, checksum: checksum.finish() }
  }
  const path = temporaryPath()
  try {
    const checksum = await writeFile(files, path, plan, context)
    const name = nameOf(checksum)
    await objects.putFile(name, path)
    return { name, bytes: plan.byteLength, checksum }
  } finally {
    await files.remove(path)
  }
}

/** A file that somebody else wrote (an index). It is moved away. */
export async function putFileObject(
  { objects, files }: ObjectWriter,
  path: string,
  nameOf: (checksum: string) => string,
  context: Context,
): Promise<ObjectReference> {
  const checksum = await checksumOfFile(files, path, context)
  const name = nameOf(checksum)
  const size = await files.size(path)
  await objects.putFile(name, path)
  return { name, bytes: size, checksum }
}

function joined(plan: FilePlan): Uint8Array {
  const bytes = new Uint8Array(plan.byteLength)
  let at = 0
  for (const piece of plan.pieces()) {
    bytes.set(piece, at)
    at += piece.byteLength
  }
  invariant('SEG-5', at === plan.byteLength, 'file of another size than planned')
  return bytes
}

/** @returns the checksum */
async function writeFile(
  files: LocalFiles,
  path: string,
  plan: FilePlan,
  context: Context,
): Promise<string> {
  const handle = await files.open(path, 'wx')
  try {
    const writer = new SequentialWriter(handle)
    for (const piece of plan.pieces()) {
      await writer.write(piece)
      checkCancelled(context)
    }
    await writer.flush()
    invariant('SEG-5', writer.byteCount === plan.byteLength, 'file of another size than planned')
    return writer.checksum.finish()
  } finally {
    await handle.close()
  }
}

class SequentialWriter {
  readonly checksum = new Checksum()
  byteCount = 0
  readonly #handle: LocalFile
  readonly #staged = new Uint8Array(checksumSliceBytes)
  #stagedBytes = 0

  constructor(handle: LocalFile) {
    this.#handle = handle
  }

  async write(piece: Uint8Array): Promise<void> {
    if (piece.byteLength < directPieceBytesMin) {
      if (this.#stagedBytes + piece.byteLength > this.#staged.byteLength) await this.flush()
      this.#staged.set(piece, this.#stagedBytes)
      this.#stagedBytes += piece.byteLength
      return
    }
    await this.flush()
    for (let at = 0; at < piece.byteLength; at += checksumSliceBytes) {
      await this.#writeNow(piece.subarray(at, at + checksumSliceBytes))
    }
  }

  async flush(): Promise<void> {
    if (this.#stagedBytes === 0) return
    const staged = this.#staged.subarray(0, this.#stagedBytes)
    this.#stagedBytes = 0
    await this.#writeNow(staged)
  }

  async #writeNow(bytes: Uint8Array): Promise<void> {
    this.checksum.add(bytes)
    let at = 0
    while (at < bytes.byteLength) {
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.byteLength - at)
      at += bytesWritten
    }
    this.byteCount += bytes.byteLength
  }
}

async function checksumOfFile(files: LocalFiles, path: string, context: Context): Promise<string> {
  const handle = await files.open(path, 'r')
  try {
    const checksum = new Checksum()
    // Most files are smaller than a slice.
    const buffer = new Uint8Array(Math.min(checksumSliceBytes, Math.max(1, await files.size(path))))
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength)
      if (bytesRead === 0) return checksum.finish()
      checksum.add(buffer.subarray(0, bytesRead))
      checkCancelled(context)
    }
  } finally {
    await handle.close()
  }
}

/** Temporary paths below a directory: `<directory>/segment-<n>`. */
export function temporaryPaths(directory: string): () => string {
  let count = 0
  return () => {
    count += 1
    return join(directory, `segment-${count}`)
  }
}

/** Copies objects from one store to another, comparing checksums on the way; what is there already stays. */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { ProgressBar } from '#cli/print.js'
import type { ObjectReference } from '#engine/segment/manifest.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface Copy {
  /** Name at the source, what it must be. */
  readonly object: ObjectReference
  readonly to: string
}

export interface CopyReport {
  readonly copiedBytes: number
  readonly skippedBytes: number
}

const together = 4
/** What is larger goes through a file. */
const joinedBytesMax = 16 * 1024 * 1024
const pieceBytes = 8 * 1024 * 1024

/** @param present sizes by name of what the target has. @throws Error when an object is missing or damaged */
export async function copyObjects(
  from: ObjectStore,
  to: ObjectStore,
  copies: readonly Copy[],
  present: ReadonlyMap<string, number>,
  temporaryDirectory: string,
  bar: ProgressBar,
): Promise<CopyReport> {
  const waiting = [...copies]
  let copiedBytes = 0
  let skippedBytes = 0
  const work = async (): Promise<void> => {
    for (let copy = waiting.shift(); copy !== undefined; copy = waiting.shift()) {
      const { bytes } = copy.object
      // Immutable, and the checksum is part of the name.
      if (present.get(copy.to) === bytes) skippedBytes += bytes
      else {
        await copyOne(from, to, copy, temporaryDirectory).catch((error: unknown) => {
          waiting.length = 0
          throw error
        })
        copiedBytes += bytes
      }
      bar.update(copiedBytes + skippedBytes)
    }
  }
  const workers = await Promise.allSettled(Array.from({ length: together }, work))
  const failed = workers.find((worker) => worker.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return { copiedBytes, skippedBytes }
}

async function copyOne(
  from: ObjectStore,
  to: ObjectStore,
  { object, to: name }: Copy,
  temporaryDirectory: string,
): Promise<void> {
  if (object.bytes <= joinedBytesMax) {
    const bytes = await from.get(object.name)
    if (bytes === undefined) throw missing(object)
    checkWhole(object, bytes.byteLength, crc32(bytes))
    await to.put(name, bytes)
    return
  }
  const path = join(temporaryDirectory, name.replaceAll('/', '_'))
  try {
    const file = await open(path, 'w')
    try {
      await readThrough(from, object, async (piece) => void (await file.write(piece)))
    } finally {
      await file.close()
    }
    await to.putFile(name, path)
  } finally {
    await rm(path, { force: true })
  }
}

/** Reads all of it and compares. @throws Error when it is missing or damaged */
export async function verifyObject(store: ObjectStore, object: ObjectReference): Promise<void> {
  await readThrough(store, object, async () => {})
}

async function readThrough(
  store: ObjectStore,
  object: ObjectReference,
  take: (piece: Uint8Array) => Promise<void>,
): Promise<void> {
  let checksum = 0
  let at = 0
  while (at < object.bytes) {
    const piece = await store.getRange(object.name, at, Math.min(pieceBytes, object.bytes - at))
    if (piece === undefined) throw missing(object)
    if (piece.byteLength === 0) break
    checksum = crc32(piece, checksum)
    at += piece.byteLength
    await take(piece)
  }
  checkWhole(object, at, checksum)
}

function checkWhole(object: ObjectReference, bytes: number, checksum: number): void {
  const isSame =
    bytes === object.bytes && checksum.toString(16).padStart(8, '0') === object.checksum
  if (!isSame) throw new Error(`object "${object.name}" is damaged: size or checksum differ`)
}

function missing({ name }: ObjectReference): Error {
  return new Error(`object "${name}" is missing`)
}

export async function sizesOf(
  store: ObjectStore,
  prefix: string,
): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>()
  for await (const { name, size } of store.list(prefix)) sizes.set(name, size)
  return sizes
}

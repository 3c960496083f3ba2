/**
 * An image (start-instance.ts) in the data directory of a process, so that its next start need not replay the DDL log. Only a
 * shortcut: what does not fit exactly, or is damaged, is as if it were not there. Little-endian; docs/formats/catalog-image.md.
 *
 *   0   8  magic "elanimg1"
 *   8   4  uint32 CRC-32 of everything from 12 on
 *  12   4  uint32 bytes of the head
 *  16   n  head: JSON {program, log, version, nextOid}
 *  16+n    the files: a bundle (snapshot-bundle.ts)
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import type { DdlEntry } from '#postgres/contract.js'

/** The files of an instance that has replayed the first `version` entries of the DDL log and done nothing else. */
export interface Image {
  readonly version: number
  /** Where the counter of OIDs stands. */
  readonly nextOid: number
  /** Bundle of its data directory; shared between threads. */
  readonly files: Uint8Array
}

interface Head {
  /** Of everything that replays: another program may make another catalog of the same log. */
  readonly program: string
  /** Of the entries that were replayed. */
  readonly log: string
  readonly version: number
  readonly nextOid: number
}

const magic = 'elanimg1'
const checksumAt = 8
const headBytesAt = 12
const headAt = 16

/** Hash of the first `version` entries. */
export function hashOfLog(log: readonly DdlEntry[], version: number): string {
  const hash = createHash('sha256')
  for (const { sql, firstOid, settings } of log.slice(0, version)) {
    hash.update(JSON.stringify([sql, firstOid, settings.user, settings.gucs]))
    hash.update('\n')
  }
  return hash.digest('hex')
}

export function encodeImage(image: Image, program: string, log: readonly DdlEntry[]): Uint8Array[] {
  const { version, nextOid, files } = image
  const head: Head = { program, log: hashOfLog(log, version), version, nextOid }
  const headBytes = Buffer.from(JSON.stringify(head))
  const start = Buffer.alloc(headAt + headBytes.length)
  start.write(magic, 0, 'latin1')
  start.writeUInt32LE(headBytes.length, headBytesAt)
  start.set(headBytes, headAt)
  start.writeUInt32LE(crc32(files, crc32(start.subarray(headBytesAt))), checksumAt)
  return [start, files]
}

/** undefined unless it is whole, and of this program and this log. */
export function decodeImage(
  bytes: Buffer,
  program: string,
  log: readonly DdlEntry[],
): Image | undefined {
  if (bytes.length < headAt || bytes.toString('latin1', 0, checksumAt) !== magic) return undefined
  if (crc32(bytes.subarray(headBytesAt)) !== bytes.readUInt32LE(checksumAt)) return undefined
  const filesAt = headAt + bytes.readUInt32LE(headBytesAt)
  const head = JSON.parse(bytes.toString('utf8', headAt, filesAt)) as Head
  const { version, nextOid } = head
  if (head.program !== program || version > log.length) return undefined
  if (head.log !== hashOfLog(log, version)) return undefined
  const files = new Uint8Array(new SharedArrayBuffer(bytes.length - filesAt))
  files.set(bytes.subarray(filesAt))
  return { version, nextOid, files }
}

export async function readImageFile(
  path: string,
  program: string,
  log: readonly DdlEntry[],
): Promise<Image | undefined> {
  try {
    return decodeImage(await readFile(path), program, log)
  } catch {
    return undefined
  }
}

/** Whole or not at all: a file beside it, then renamed. @throws what the file system says */
export async function writeImageFile(path: string, parts: readonly Uint8Array[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.new`
  const file = await open(temporary, 'w')
  try {
    for (const part of parts) await file.writeFile(part)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}

/**
 * The file an embedded instance starts from: a data directory after initdb and the files of the extensions that
 * CREATE EXTENSION may ask for. Uncompressed, so that starting is copying. Little-endian; docs/formats/snapshot.md.
 *
 *   0   8  magic "elansnp2"
 *   8   4  uint32 CRC-32 of everything from 12 on
 *  12   4  uint32 bytes of the index
 *  16   n  index: JSON [[path, offset, length], …]; offsets from the end of the index; a directory has length -1
 *  16+n    file contents, one after the other
 *
 * The first version had the magic "elansnap" and no checksum: the index began at 12.
 */
import { crc32 } from 'node:zlib'

export interface BundleFile {
  /** Absolute in the instance's file system. */
  readonly path: string
  /** Undefined: a directory. */
  readonly content: Uint8Array | undefined
}

const magic = 'elansnp2'
const checksumAt = 8
const headerBytes = 16
const firstMagic = 'elansnap'
const firstHeaderBytes = 12

export function encodeBundle(files: readonly BundleFile[]): Uint8Array {
  let offset = 0
  const index = files.map(({ path, content }) => {
    const entry = [path, offset, content === undefined ? -1 : content.length]
    offset += content?.length ?? 0
    return entry
  })
  const indexBytes = Buffer.from(JSON.stringify(index))
  const out = Buffer.alloc(headerBytes + indexBytes.length + offset)
  out.write(magic, 0, 'latin1')
  out.writeUInt32LE(indexBytes.length, headerBytes - 4)
  out.set(indexBytes, headerBytes)
  let at = headerBytes + indexBytes.length
  for (const { content } of files) {
    if (content === undefined) continue
    out.set(content, at)
    at += content.length
  }
  out.writeUInt32LE(crc32(out.subarray(checksumAt + 4)), checksumAt)
  return out
}

/**
 * Compares the checksum: not done at every start, where nothing but a build of this version writes the file.
 * @returns what was found. @throws Error when the content is not what was written
 */
export function verifyBundle(bundle: Uint8Array): string {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength)
  if (headerOf(bytes) === firstHeaderBytes) return 'format 1, which has no checksum'
  const found = crc32(bytes.subarray(checksumAt + 4))
  const wanted = bytes.readUInt32LE(checksumAt)
  if (found !== wanted)
    throw new Error(`offset ${checksumAt}: the content has CRC-32 ${found}, not ${wanted}`)
  return 'format 2, CRC-32 right'
}

/** Bytes before the index; their last four are its length. @throws Error */
function headerOf(bytes: Buffer): number {
  const found = bytes.toString('latin1', 0, magic.length)
  if (found === magic && bytes.length >= headerBytes) return headerBytes
  if (found === firstMagic && bytes.length >= firstHeaderBytes) return firstHeaderBytes
  throw new Error('not a snapshot of the embedded PostgreSQL: run npm run build')
}

/** Contents are views of `bundle`. @throws Error if the file is none of ours */
export function decodeBundle(bundle: Uint8Array): BundleFile[] {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength)
  const indexAt = headerOf(bytes)
  const start = indexAt + bytes.readUInt32LE(indexAt - 4)
  const index = JSON.parse(bytes.toString('utf8', indexAt, start)) as [string, number, number][]
  return index.map(([path, offset, length]) => ({
    path,
    content: length < 0 ? undefined : bytes.subarray(start + offset, start + offset + length),
  }))
}

/**
 * The file an embedded instance starts from: a data directory after initdb and the files of the extensions that
 * CREATE EXTENSION may ask for. Uncompressed, so that starting is copying.
 *
 *   0   8  magic "elansnap"
 *   8   4  uint32 little-endian: bytes of the index
 *  12   n  index: JSON [[path, offset, length], …]; offsets from the end of the index; a directory has length -1
 *  12+n    file contents, one after the other
 */
export interface BundleFile {
  /** Absolute in the instance's file system. */
  readonly path: string
  /** Undefined: a directory. */
  readonly content: Uint8Array | undefined
}

const magic = 'elansnap'
const headerBytes = 12

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
  out.writeUInt32LE(indexBytes.length, 8)
  out.set(indexBytes, headerBytes)
  let at = headerBytes + indexBytes.length
  for (const { content } of files) {
    if (content === undefined) continue
    out.set(content, at)
    at += content.length
  }
  return out
}

/** Contents are views of `bundle`. @throws Error if the file is none of ours */
export function decodeBundle(bundle: Uint8Array): BundleFile[] {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength)
  if (bytes.length < headerBytes || bytes.toString('latin1', 0, 8) !== magic) {
    throw new Error('not a snapshot of the embedded PostgreSQL: run npm run build')
  }
  const start = headerBytes + bytes.readUInt32LE(8)
  const index = JSON.parse(bytes.toString('utf8', headerBytes, start)) as [string, number, number][]
  return index.map(([path, offset, length]) => ({
    path,
    content: length < 0 ? undefined : bytes.subarray(start + offset, start + offset + length),
  }))
}

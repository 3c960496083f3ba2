/** Reads the archives PGlite ships its extensions in (ustar: header of 512 bytes, content padded to 512). */
export interface TarFile {
  readonly name: string
  readonly content: Uint8Array
}

/** Regular files only. */
export function readTar(archive: Uint8Array): TarFile[] {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength)
  const files: TarFile[] = []
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const field = (start: number, length: number): string => {
      const raw = bytes.toString('latin1', at + start, at + start + length)
      const zero = raw.indexOf('\0')
      return zero < 0 ? raw : raw.slice(0, zero)
    }
    const size = Number.parseInt(field(124, 12).trim() || '0', 8)
    const type = field(156, 1)
    const prefix = field(345, 155)
    const name = prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`
    if (type === '' || type === '0') {
      files.push({
        name: name.replace(/^\.?\//, ''),
        content: bytes.subarray(at + 512, at + 512 + size),
      })
    }
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** The header of an HNSW index file, drawn in docs/formats/hnsw.md; the code that writes it is native/hnsw/index.h. */
import { open } from 'node:fs/promises'
import { print } from '#cli/print.js'
import { ConfigError } from '#config.js'

const headerBytes = 256
const metrics = ['l2', 'inner product', 'cosine', 'l1']
const sections = [
  'quantizer',
  'codes',
  'links of the bottom level',
  'offsets of upper links',
  'upper links',
  'rows in the graph',
]
const sectionTableOffset = 112

export async function inspectHnsw(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    const { buffer: header, bytesRead } = await handle.read(
      Buffer.alloc(headerBytes),
      0,
      headerBytes,
      0,
    )
    if (bytesRead < headerBytes)
      throw new ConfigError(`${path} is shorter than the header of an index`)
    const number = (offset: number) => header.readUInt32LE(offset)
    const long = (offset: number) => Number(header.readBigUInt64LE(offset)).toLocaleString('en')
    print(
      `HNSW index "${header.toString('latin1', 0, 8).replace(/\0+$/, '')}", format ${number(8)}, ${long(16)} bytes`,
    )
    print(`  ${long(24)} rows, ${long(64)} of them in the graph, ${number(76)} searched one by one`)
    print(`  ${number(32)} dimensions, ${metrics[number(36)] ?? `metric ${number(36)}`}`)
    print(
      `  m ${number(40)}, ef_construction ${number(44)}, ${number(52)} levels above the bottom, entry point ${number(48)}`,
    )
    print(`  codes: ${number(56)} bytes apart, dimensions padded to ${number(60)}`)
    sections.forEach((name, i) => {
      const at = sectionTableOffset + 24 * i
      if (at + 24 > headerBytes) return
      const checksum = header
        .readBigUInt64LE(at + 16)
        .toString(16)
        .padStart(16, '0')
      print(`  ${name.padEnd(26)} at ${long(at)}, ${long(at + 8)} bytes, checksum ${checksum}`)
    })
  } finally {
    await handle.close()
  }
}

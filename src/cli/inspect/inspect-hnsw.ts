/** An HNSW index file, drawn in docs/formats/hnsw.md; the code that writes it is native/hnsw/index.h. */
import { readFile } from 'node:fs/promises'
import { native } from '#engine/index/native.js'
import { checksumOf } from '#engine/segment/checksum.js'
import { count } from './describe.js'
import { checkName } from './inspect-segment.js'
import type { Report } from './report.js'
import { xxh64 } from './xxh64.js'

const headerBytes = 4096
const headerChecksumAt = 4088
const sectionTableAt = 112
const knownVersions = [1, 2]
const metrics = ['l2', 'inner product', 'cosine', 'l1']
const sections = [
  'quantizer',
  'codes',
  'links of the bottom level',
  'offsets of upper links',
  'upper links',
  'rows in the graph',
  'equal rows',
]
/** Equal rows came with version 2. */
const sectionsOfVersion1 = 6

export async function inspectHnsw(path: string, report: Report): Promise<void> {
  const bytes = await readFile(path)
  checkName(path, checksumOf(bytes), report)
  if (bytes.length < headerBytes) {
    report.damage(`${count(bytes.length, 'byte')} are less than the header of an index has`)
    return
  }
  describeHeader(bytes, report)
  const defect = await nativeVerdict(path)
  if (defect !== undefined && !knownVersions.includes(bytes.readUInt32LE(8))) report.damage(defect)
  else if (defect !== undefined) findDefect(bytes, defect, report)
  else report.line('  all checksums are right')
}

/** Native code verifies everything at the speed of memory. @returns what it says against the file */
async function nativeVerdict(path: string): Promise<string | undefined> {
  try {
    ;(await native.loadHnsw(path)).close()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function describeHeader(bytes: Buffer, report: Report): void {
  const number = (offset: number) => bytes.readUInt32LE(offset)
  const long = (offset: number) => Number(bytes.readBigUInt64LE(offset))
  const magic = bytes.toString('latin1', 0, 8).replace(/[^ -~]/g, '.')
  report.line(
    `HNSW index "${magic}", format ${number(8)}, ${count(long(16), 'byte')}, CRC-32 ${checksumOf(bytes)}`,
  )
  report.line(
    `  ${count(long(24), 'row')}, ${long(64).toLocaleString('en')} of them in the graph, ${number(76)} searched one by one`,
  )
  if (number(8) > 1 && number(80) > 0)
    report.line(`  ${count(number(80), 'row')} of the graph have the vector of a row before`)
  report.line(`  ${number(32)} dimensions, ${metrics[number(36)] ?? `metric ${number(36)}`}`)
  const entry = number(48) === 0xffff_ffff ? 'none' : number(48)
  report.line(
    `  m ${number(40)}, ef_construction ${number(44)}, ${number(52)} levels above the bottom, entry point ${entry}`,
  )
  report.line(
    `  codes: ${number(56)} bytes apart, ${number(60)} of them read, residual ${bytes.readFloatLE(72)}`,
  )
  for (const { name, offset, size, checksum } of sectionsOf(bytes)) {
    report.line(
      `  ${name.padEnd(26)} at ${offset.toLocaleString('en')}, ${count(size, 'byte')}, XXH64 ${word(checksum)}`,
    )
  }
}

function sectionsOf(bytes: Buffer) {
  const known = bytes.readUInt32LE(8) === 1 ? sections.slice(0, sectionsOfVersion1) : sections
  return known.map((name, i) => ({
    name,
    offset: Number(bytes.readBigUInt64LE(sectionTableAt + 24 * i)),
    size: Number(bytes.readBigUInt64LE(sectionTableAt + 24 * i + 8)),
    checksum: bytes.readBigUInt64LE(sectionTableAt + 24 * i + 16),
  }))
}

const word = (checksum: bigint) => checksum.toString(16).padStart(16, '0')

/** Which part is damaged; if none by its checksum, what native code said. */
function findDefect(bytes: Buffer, defect: string, report: Report): void {
  let isFound = false
  const say = (what: string) => {
    isFound = true
    report.damage(what)
  }
  const header = xxh64(bytes.subarray(0, headerChecksumAt))
  if (header !== bytes.readBigUInt64LE(headerChecksumAt)) {
    // The sections' places are not to be believed.
    report.damage(
      `offset 0: the header has XXH64 ${word(header)}, not ${word(bytes.readBigUInt64LE(headerChecksumAt))}`,
    )
    return
  }
  const size = Number(bytes.readBigUInt64LE(16))
  if (size !== bytes.length)
    say(
      `offset ${Math.min(size, bytes.length)}: the file has ${count(bytes.length, 'byte')}, its header says ${size}`,
    )
  for (const section of sectionsOf(bytes)) {
    const end = section.offset + section.size
    if (end > bytes.length) {
      say(`offset ${section.offset}: section "${section.name}" is cut short`)
      continue
    }
    const found = xxh64(bytes.subarray(section.offset, end))
    if (found !== section.checksum)
      say(
        `offset ${section.offset}: section "${section.name}" has XXH64 ${word(found)}, not ${word(section.checksum)}`,
      )
  }
  if (!isFound) report.damage(defect)
}

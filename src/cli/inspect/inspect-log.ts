/**
 * A file of the embedded log: header, frames, and in each the records that the streaming node wrote. Where no whole frame
 * begins, what is wrong there, and whether frames follow: then it is damage, and reading goes on behind it; otherwise it
 * is what a crash tore off, or what a running server is writing.
 */
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import {
  decodeFrameHeader,
  decodeRecords,
  type FrameHeader,
  frameMagic,
  isFramePayloadIntact,
} from '#storage/wal/embedded/frame.js'
import { decodeLogFileHeader, logFileHeaderBytes } from '#storage/wal/embedded/log-file.js'
import type { LogRecord } from '#storage/wal/wal.js'
import { count } from './describe.js'
import { describeRecord, type Expected } from './describe-log-record.js'
import type { InspectOptions } from './options.js'
import type { Report } from './report.js'

interface Place {
  offset: number
  position: number
}

/** A log file is 64 MiB, or a single append of at most 1 GiB: it is read as a whole. */
export async function inspectLog(
  path: string,
  options: InspectOptions,
  report: Report,
): Promise<void> {
  const bytes = await readFile(path)
  const header = decodeLogFileHeader(bytes)
  if (header === undefined) {
    report.damage(
      `offset 0: the header of ${logFileHeaderBytes} bytes is cut short, or magic or CRC-32 are wrong`,
    )
    return
  }
  const { version, salt, firstPosition } = header
  report.line(
    `log file, format ${version}, from position ${firstPosition}, ${count(bytes.length, 'byte')}, ` +
      `salt 0x${salt.toString(16).padStart(8, '0')}`,
  )
  const name = `${firstPosition.toString(16).padStart(16, '0')}.log`
  if (basename(path) !== name) report.line(`  its name should be ${name}`)
  const place: Place = { offset: logFileHeaderBytes, position: firstPosition }
  const printer = new FramePrinter(options, report)
  while (place.offset < bytes.length) {
    const frame = frameAt(bytes, place, salt)
    if (typeof frame !== 'string') {
      printer.frame(bytes, place.offset, frame)
      advance(place, frame)
      continue
    }
    const later = findFrame(bytes, place.offset + 1, salt)
    printer.flush()
    if (later === undefined) {
      report.line(
        `@${place.offset}  ${frame}; nothing follows: the last write was torn, or is under way`,
      )
      break
    }
    report.damage(
      `offset ${place.offset}, position ${place.position}: ${frame}; ` +
        `the next whole frame is at offset ${later.offset}, position ${later.header.firstPosition}`,
    )
    place.offset = later.offset
    place.position = later.header.firstPosition
  }
  printer.flush()
  report.line(
    `end: next position ${place.position}; ${count(bytes.length - place.offset, 'byte')} after the last whole frame`,
  )
}

function advance(place: Place, { headerBytes, payloadBytes, recordCount }: FrameHeader): void {
  place.offset += headerBytes + payloadBytes
  place.position += recordCount
}

/** The frame there, or what is wrong. */
function frameAt(bytes: Buffer, { offset, position }: Place, salt: number): FrameHeader | string {
  const header = decodeFrameHeader(bytes, offset, salt)
  if (header === 'invalid') {
    return bytes.subarray(offset, offset + 4).equals(frameMagic)
      ? 'the CRC-32 of the frame header is wrong'
      : 'no frame begins here'
  }
  if ('needBytes' in header) return 'the frame header is cut short'
  if (header.headerBytes + header.payloadBytes > bytes.length - offset)
    return 'the frame is cut short'
  if (!isFramePayloadIntact(bytes, offset, header)) return 'the CRC-32 of the records is wrong'
  if (header.firstPosition !== position)
    return `a frame of position ${header.firstPosition} is here`
  return header
}

function findFrame(bytes: Buffer, from: number, salt: number) {
  for (let at = bytes.indexOf(frameMagic, from); at >= 0; at = bytes.indexOf(frameMagic, at + 1)) {
    const header = decodeFrameHeader(bytes, at, salt)
    if (header === 'invalid' || 'needBytes' in header) continue
    const isWhole = header.headerBytes + header.payloadBytes <= bytes.length - at
    if (isWhole && isFramePayloadIntact(bytes, at, header)) return { offset: at, header }
  }
  return undefined
}

/** Prints frames up to the limit, or the records asked for, and counts the rest. */
class FramePrinter {
  readonly #options: InspectOptions
  readonly #report: Report
  #printed = 0
  #passed = 0

  constructor(options: InspectOptions, report: Report) {
    this.#options = options
    this.#report = report
  }

  frame(bytes: Buffer, offset: number, header: FrameHeader): void {
    const { firstPosition, recordCount, durablePosition, term } = header
    const { position, limit } = this.#options
    const isWanted =
      position === undefined
        ? this.#printed < limit
        : position >= firstPosition && position < firstPosition + recordCount
    const records: LogRecord[] = []
    decodeRecords(bytes, offset, header, 0, records)
    if (isWanted) {
      this.#printed += 1
      this.#report.line(
        `@${offset}  frame: positions ${firstPosition}–${firstPosition + recordCount - 1}, ` +
          `term ${term}, durable before ${durablePosition}, ${count(header.headerBytes + header.payloadBytes, 'byte')}, CRC-32 right`,
      )
    } else this.#passed += 1
    this.#records(records, isWanted)
  }

  /** Also of frames that are not printed: what is wrong in them is said. */
  #records(records: readonly LogRecord[], isWanted: boolean): void {
    let expected: Expected
    for (const { position, payload } of records) {
      const isShown =
        isWanted && (this.#options.position === undefined || this.#options.position === position)
      try {
        const { lines, next } = describeRecord(payload, expected, this.#options.rows)
        expected = next
        if (!isShown) continue
        for (const [i, line] of lines.entries())
          this.#report.line(`    ${i === 0 ? `${position}: ` : ''}${line}`)
      } catch (error) {
        const what = error instanceof Error ? error.message : String(error)
        this.#report.damage(`position ${position}: ${what}`)
        return
      }
    }
  }

  flush(): void {
    if (this.#passed > 0 && this.#options.position === undefined)
      this.#report.line(`… and ${count(this.#passed, 'frame')} more (--limit N)`)
    this.#passed = 0
  }
}

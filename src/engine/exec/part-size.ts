/** How many rows a part of a scan holds: some thousands, and some megabytes unless one row is larger. */
import { elementSize, widthOf } from '#engine/columnar/column-builder.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/** Enough that the costs of a part (a promise, a message) vanish; small enough that memory and first-row time stay low. */
const partRowCountMax = 4096
/** A message between nodes, and what waits per open cursor. */
const partBytesMax = 4 * 1024 * 1024

export class PartSizer {
  static readonly rowCountMax = partRowCountMax
  readonly #fixedBytes: number
  readonly #offsets: readonly Int32Array[]

  constructor(segment: ReadableSegment, output: readonly number[]) {
    let fixedBytes = 8
    const offsets: Int32Array[] = []
    for (const attnum of output) {
      const column = segment.column(attnum)
      if (column.kind === 'bytes') {
        offsets.push(column.offsets)
        fixedBytes += 4
      } else fixedBytes += elementSize(column.kind) * (widthOf(column) || 1)
    }
    this.#fixedBytes = fixedBytes
    this.#offsets = offsets
  }

  /** Bytes that the row adds to a part. */
  rowBytes(ordinal: number): number {
    let bytes = this.#fixedBytes
    for (const offsets of this.#offsets) {
      bytes += (offsets[ordinal + 1] ?? 0) - (offsets[ordinal] ?? 0)
    }
    return bytes
  }

  static room(): PartRoom {
    return new PartRoom()
  }
}

/** Sizers of several segments, made when they are first asked: few of many segments may hold hits. */
export class PartSizers {
  readonly #segments: readonly ReadableSegment[]
  readonly #output: readonly number[]
  readonly #sizers = new Map<number, PartSizer>()

  constructor(segments: readonly ReadableSegment[], output: readonly number[]) {
    this.#segments = segments
    this.#output = output
  }

  rowBytes(position: number, ordinal: number): number {
    let sizer = this.#sizers.get(position)
    if (sizer === undefined) {
      const segment = this.#segments[position]
      if (segment === undefined) return 0
      sizer = new PartSizer(segment, this.#output)
      this.#sizers.set(position, sizer)
    }
    return sizer.rowBytes(ordinal)
  }
}

class PartRoom {
  #rows = 0
  #bytes = 0

  /** @returns false when the row belongs to the next part */
  take(bytes: number): boolean {
    if (this.#rows > 0 && this.#bytes + bytes > partBytesMax) return false
    if (this.#rows === partRowCountMax) return false
    this.#rows += 1
    this.#bytes += bytes
    return true
  }
}

/**
 * An index as the simulator has it: the rows it was built over, searched exactly. It answers from its own copy, so that an
 * index that is attached to other rows than it was built over is found out.
 *
 * File, little-endian:
 *
 *   0   8 bytes  'ELPLAIN1'
 *   8   u32      CRC-32 of everything from 12 on
 *   12  u32      length of the header
 *   16           header: JSON {rowCount, dimensions, metric}
 *   …            validity: ceil(rowCount / 8) bytes; bit i set = row i is in the index
 *   …            rowCount × dimensions float32
 */
import { crc32 } from 'node:zlib'
import type { VectorColumn } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'
import { pgDistance } from '#engine/index/flat.js'
import type { BuildHnswOptions, NativeIndex } from '#engine/index/native.js'
import { isValid } from '#engine/plan/filter-evaluate.js'
import { nativeError } from './native-error.testing.js'

/** Local files by path: what a process of the simulator has instead of a disk. */
export interface PlainFiles {
  get(path: string): Uint8Array | undefined
  put(path: string, bytes: Uint8Array): void
}

interface IndexedRows {
  readonly rowCount: number
  readonly metric: Metric
  /** Valid rows are in the index. */
  readonly column: VectorColumn
}

const magic = 'ELPLAIN1'
const headerAt = 16

export class PlainIndex implements NativeIndex {
  readonly #rows: IndexedRows
  readonly #files: PlainFiles
  #closed = false

  constructor(rows: IndexedRows, files: PlainFiles) {
    this.#rows = rows
    this.#files = files
  }

  get rowCount(): number {
    return this.#open().rowCount
  }

  get metric(): Metric {
    return this.#open().metric
  }

  get memoryBytes(): number {
    const { column } = this.#open()
    return column.values.byteLength + (column.validity?.byteLength ?? 0)
  }

  /** A closed index goes on serving segments that have it. */
  get built(): IndexedRows {
    return this.#rows
  }

  /** The k nearest of the rows, nearest first; NaN is no hit. */
  nearest(query: Float32Array, rows: readonly number[], k: number): readonly number[] {
    const { column, metric } = this.#rows
    return rows
      .filter((row) => isValid(column, row))
      .map((row) => ({
        row,
        distance: pgDistance(metric, query, column.values, row * column.dimensions),
      }))
      .filter(({ distance }) => !Number.isNaN(distance))
      .sort((a, b) => (a.distance < b.distance ? -1 : a.distance > b.distance ? 1 : a.row - b.row))
      .slice(0, k)
      .map(({ row }) => row)
  }

  async save(path: string): Promise<void> {
    const bytes = encode(this.#open())
    this.#files.put(path, bytes)
  }

  close(): void {
    this.#closed = true
  }

  checkOpen(): void {
    this.#open()
  }

  #open(): IndexedRows {
    if (this.#closed) throw new Error('index is closed')
    return this.#rows
  }
}

export function buildPlainIndex(options: BuildHnswOptions, files: PlainFiles): PlainIndex {
  const { rowCount, dimensions, metric, values, validity } = options
  if (values.length / dimensions < rowCount)
    throw new RangeError('values are shorter than rowCount')
  const copy = values.slice(0, rowCount * dimensions)
  const source = { kind: 'vector' as const, length: rowCount, dimensions, values: copy }
  const given = validity === undefined ? source : { ...source, validity }
  const within = new Uint8Array(Math.ceil(rowCount / 8))
  for (let row = 0; row < rowCount; row++) {
    if (isValid(given, row)) within[row >> 3] = (within[row >> 3] ?? 0) | (1 << (row & 7))
  }
  return new PlainIndex({ rowCount, metric, column: { ...source, validity: within } }, files)
}

export function loadPlainIndex(path: string, files: PlainFiles): PlainIndex {
  const bytes = files.get(path)
  if (bytes === undefined) {
    throw nativeError('58030', `could not open file "${path}": No such file or directory`)
  }
  return new PlainIndex(decode(path, bytes), files)
}

function encode({ rowCount, metric, column }: IndexedRows): Uint8Array {
  const { dimensions, values, validity = new Uint8Array() } = column
  const header = Buffer.from(JSON.stringify({ rowCount, dimensions, metric }))
  const start = Buffer.alloc(headerAt)
  start.write(magic)
  start.writeUInt32LE(header.length, 12)
  const bytes = Buffer.concat([
    start,
    header,
    validity,
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  ])
  bytes.writeUInt32LE(crc32(bytes.subarray(12)), 8)
  return new Uint8Array(bytes)
}

function decode(path: string, file: Uint8Array): IndexedRows {
  const bytes = Buffer.from(file)
  if (
    bytes.length < headerAt ||
    bytes.toString('latin1', 0, 8) !== magic ||
    bytes.readUInt32LE(8) !== crc32(bytes.subarray(12))
  ) {
    throw nativeError('XX001', `index file "${path}" is corrupted`)
  }
  const validityAt = headerAt + bytes.readUInt32LE(12)
  const header = JSON.parse(bytes.toString('utf8', headerAt, validityAt)) as {
    readonly rowCount: number
    readonly dimensions: number
    readonly metric: Metric
  }
  const { rowCount, dimensions, metric } = header
  const valuesAt = validityAt + Math.ceil(rowCount / 8)
  const column: VectorColumn = {
    kind: 'vector',
    length: rowCount,
    dimensions,
    validity: new Uint8Array(bytes.subarray(validityAt, valuesAt)),
    values: new Float32Array(new Uint8Array(bytes.subarray(valuesAt)).buffer),
  }
  return { rowCount, metric, column }
}

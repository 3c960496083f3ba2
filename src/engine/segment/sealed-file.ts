/**
 * Reads a segment's Arrow files: columns are views of the given memory (usually a mapped file), nothing is copied.
 * Checked here: magic, footer, one uncompressed record batch, every buffer within the file, aligned, and large enough for
 * its rows; of kind bytes the first and last offset (and by checkOffsets(), before native code sees the column, that they
 * rise). Whether the bytes are those that were written is the checksum's business (manifest.ts).
 */

import { Footer } from 'apache-arrow/ipc/metadata/file'
import { type BufferRegion, Message, type RecordBatch } from 'apache-arrow/ipc/metadata/message'
import type { Field, Schema } from 'apache-arrow/schema'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { bytesColumn, elementSize, fixedColumn } from '#engine/columnar/column-builder.js'
import { type StoredField, storedField } from '#engine/segment/arrow-fields.js'
import { footerDefect, recordBatchDefect } from '#engine/segment/metadata-bounds.js'

export interface StoredColumn extends StoredField {
  readonly column: Column
  readonly nullCount: number
}

export interface SealedFile {
  readonly rowCount: number
  readonly columns: readonly StoredColumn[]
  /** Of the file's schema. */
  readonly metadata: ReadonlyMap<string, string>
}

const magicSize = 6

/** @param bytes the whole file, beginning at a multiple of 8. @throws XX001 when it is not a file of ours */
export function openSealedFile(bytes: Uint8Array): SealedFile {
  try {
    return readSealedFile(bytes)
  } catch (error) {
    // What the flatbuffer reader throws when it is led astray.
    throw error instanceof DatabaseError ? error : corrupted('metadata unreadable', error)
  }
}

function readSealedFile(bytes: Uint8Array): SealedFile {
  if (bytes.byteOffset % 8 !== 0) throw corrupted('not aligned in memory')
  const footer = readFooter(bytes)
  const schema: Schema = footer.schema
  const block = footer.getRecordBatch(0)
  if (block === null || footer.numRecordBatches !== 1) throw corrupted('not one record batch')
  const bodyAt = block.offset + block.metaDataLength
  if (block.metaDataLength < 8 || bodyAt + block.bodyLength > bytes.byteLength) {
    throw corrupted('record batch out of bounds')
  }
  const batch = readBatch(bytes.subarray(block.offset + 8, bodyAt))
  const body = bytes.subarray(bodyAt, bodyAt + block.bodyLength)
  const reader = new BodyReader(body, batch)
  return {
    rowCount: batch.length,
    columns: schema.fields.map((field) => reader.column(field)),
    metadata: schema.metadata,
  }
}

function readFooter(bytes: Uint8Array): Footer {
  const size = bytes.byteLength
  const magic = (at: number) =>
    Buffer.from(bytes.buffer, bytes.byteOffset + at, magicSize).toString('latin1')
  if (size < 32 || magic(0) !== 'ARROW1' || magic(size - magicSize) !== 'ARROW1') {
    throw corrupted('no magic number')
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, size)
  const footerSize = view.getInt32(size - magicSize - 4, true)
  const footerAt = size - magicSize - 4 - footerSize
  if (footerSize <= 0 || footerAt < 8) throw corrupted('footer out of bounds')
  const footer = bytes.subarray(footerAt, footerAt + footerSize)
  const defect = footerDefect(footer)
  if (defect !== undefined) throw corrupted(defect)
  return Footer.decode(footer)
}

function readBatch(bytes: Uint8Array): RecordBatch {
  const defect = recordBatchDefect(bytes)
  if (defect !== undefined) throw corrupted(defect)
  const message = Message.decode(bytes)
  if (!message.isRecordBatch()) throw corrupted('another message where the record batch should be')
  const batch = message.header()
  if (batch.compression !== null) throw corrupted('compressed')
  return batch
}

/** Takes nodes and buffers in the order of the fields, as Arrow lists them. */
class BodyReader {
  readonly #body: Uint8Array
  readonly #batch: RecordBatch
  #node = 0
  #buffer = 0

  constructor(body: Uint8Array, batch: RecordBatch) {
    this.#body = body
    this.#batch = batch
  }

  column(field: Field): StoredColumn {
    const stored = storedField(field)
    const nullCount = this.#nextNode(this.#batch.length)
    const column = this.#read(stored, nullCount)
    return { ...stored, column, nullCount }
  }

  #read({ kind, width, name }: StoredField, nullCount: number): Column {
    const rowCount = this.#batch.length
    const validityBytes = nullCount === 0 ? 0 : (rowCount + 7) >> 3
    const validityAt = this.#nextBuffer(validityBytes, name)
    const validity =
      nullCount === 0 ? undefined : this.#body.subarray(validityAt, validityAt + validityBytes)
    const { buffer, byteOffset } = this.#body
    if (kind === 'bytes') {
      const offsetsAt = this.#nextBuffer(4 * (rowCount + 1), name)
      const offsets = new Int32Array(buffer, byteOffset + offsetsAt, rowCount + 1)
      const size = offsets[rowCount] ?? 0
      if (offsets[0] !== 0 || size < 0) throw corrupted(`offsets of ${name}`)
      const valuesAt = this.#nextBuffer(size, name)
      return bytesColumn(
        rowCount,
        this.#body.subarray(valuesAt, valuesAt + size),
        offsets,
        validity,
      )
    }
    if (kind === 'vector') {
      this.#nextNode(rowCount * width)
      this.#nextBuffer(0, name)
    }
    const count = rowCount * (width || 1)
    const at = byteOffset + this.#nextBuffer(count * elementSize(kind), name)
    switch (kind) {
      case 'bool':
      case 'fixed':
        return fixedColumn(kind, width, rowCount, new Uint8Array(buffer, at, count), validity)
      case 'int16':
        return fixedColumn(kind, 0, rowCount, new Int16Array(buffer, at, count), validity)
      case 'int32':
        return fixedColumn(kind, 0, rowCount, new Int32Array(buffer, at, count), validity)
      case 'int64':
        return fixedColumn(kind, 0, rowCount, new BigInt64Array(buffer, at, count), validity)
      case 'float32':
      case 'vector':
        return fixedColumn(kind, width, rowCount, new Float32Array(buffer, at, count), validity)
      case 'float64':
        return fixedColumn(kind, 0, rowCount, new Float64Array(buffer, at, count), validity)
    }
  }

  /** @returns its null count */
  #nextNode(length: number): number {
    const node = this.#batch.nodes[this.#node]
    this.#node += 1
    if (node === undefined || node.length !== length || node.nullCount < 0) {
      throw corrupted('field nodes do not fit the rows')
    }
    return node.nullCount
  }

  /** @returns where in the body it begins */
  #nextBuffer(bytesNeeded: number, name: string): number {
    const region: BufferRegion | undefined = this.#batch.buffers[this.#buffer]
    this.#buffer += 1
    if (
      region === undefined ||
      region.length < bytesNeeded ||
      region.offset < 0 ||
      region.offset % 8 !== 0 ||
      region.offset + region.length > this.#body.byteLength
    ) {
      throw corrupted(`buffers of ${name}`)
    }
    return region.offset
  }
}

/** Before native code follows them. @throws XX001 when offsets of a bytes column fall */
export function checkOffsets(column: Column): void {
  if (column.kind !== 'bytes') return
  const { offsets, length } = column
  let last = 0
  for (let i = 0; i <= length; i += 1) {
    const offset = offsets[i] ?? 0
    if (offset < last) throw corrupted('offsets do not rise')
    last = offset
  }
}

export function corrupted(what: string, cause?: unknown): DatabaseError {
  return new DatabaseError(
    SqlState.dataCorrupted,
    `segment is corrupted: ${what}`,
    cause === undefined ? {} : { cause },
  )
}

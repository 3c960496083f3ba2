/**
 * Lays out an Arrow IPC file with one record batch and yields its bytes from front to back. The metadata messages are
 * apache-arrow's; the body is ours, because its writer assembles the whole file in memory and aligns to 8 bytes only.
 *
 *   offset  0          'ARROW1', 0, 0
 *           8          schema message, padded to 8
 *           …          record batch message, padded so that the body starts at a multiple of 64
 *           64 × n     body: per field [validity] [offsets] [values], each padded with zeros to 64
 *           …          FF FF FF FF 00 00 00 00 (end of stream)
 *           …          footer (flatbuffer), its length as int32, 'ARROW1'
 */

import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file'
import { BufferRegion, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message'
import { type Field, Schema } from 'apache-arrow/schema'
import type { ColumnSource } from '#engine/segment/column-source.js'

const bodyAlignment = 64
const magic = new Uint8Array([0x41, 0x52, 0x52, 0x4f, 0x57, 0x31]) // 'ARROW1'
const endOfStream = new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])

export interface FilePlan {
  readonly byteLength: number
  /** Pieces of any size that together are byteLength long; views of the sources where possible. */
  pieces(): Iterable<Uint8Array>
}

/** @param metadata of the file's schema, @param columns all of the same row count, in the fields' order */
export function planArrowFile(
  fields: readonly Field[],
  columns: readonly ColumnSource[],
  rowCount: number,
  metadata: ReadonlyMap<string, string>,
): FilePlan {
  const schema = new Schema([...fields], new Map(metadata))
  const body = planBody(columns)
  const schemaMessage = encodeMessage(Message.from(schema), 8, 8)
  const batchOffset = 8 + schemaMessage.byteLength
  const batch = new RecordBatch(rowCount, body.nodes, body.regions, null)
  const batchMessage = encodeMessage(
    Message.from(batch, body.byteLength),
    batchOffset,
    bodyAlignment,
  )
  const block = new FileBlock(batchMessage.byteLength, body.byteLength, batchOffset)
  const footer = Footer.encode(new Footer(schema, undefined, [block], []))
  const tail = new Uint8Array(endOfStream.byteLength + footer.byteLength + 4 + magic.byteLength)
  tail.set(endOfStream)
  tail.set(footer, endOfStream.byteLength)
  new DataView(tail.buffer).setInt32(tail.byteLength - 10, footer.byteLength, true)
  tail.set(magic, tail.byteLength - magic.byteLength)
  const head = new Uint8Array(batchOffset + batchMessage.byteLength)
  head.set(magic)
  head.set(schemaMessage, 8)
  head.set(batchMessage, batchOffset)
  return {
    byteLength: head.byteLength + body.byteLength + tail.byteLength,
    *pieces() {
      yield head
      yield* bodyPieces(columns)
      yield tail
    },
  }
}

/**
 * Encapsulated message: FF FF FF FF, int32 length of what follows, flatbuffer, padding: the whole ends at a multiple of
 * `alignment` when it begins at `offset`.
 */
function encodeMessage(message: Message, offset: number, alignment: number): Uint8Array {
  const flatbuffer = Message.encode(message)
  const end = padded(offset + 8 + flatbuffer.byteLength, alignment)
  const encoded = new Uint8Array(end - offset)
  const view = new DataView(encoded.buffer)
  view.setInt32(0, -1, true)
  view.setInt32(4, encoded.byteLength - 8, true)
  encoded.set(flatbuffer, 8)
  return encoded
}

function planBody(columns: readonly ColumnSource[]): {
  nodes: FieldNode[]
  regions: BufferRegion[]
  byteLength: number
} {
  const nodes: FieldNode[] = []
  const regions: BufferRegion[] = []
  let at = 0
  const place = (byteLength: number) => {
    regions.push(new BufferRegion(at, byteLength))
    at += padded(byteLength, bodyAlignment)
  }
  for (const column of columns) {
    nodes.push(new FieldNode(column.rowCount, column.nullCount))
    place(column.validity?.byteLength ?? 0)
    if (column.kind === 'vector') {
      // The list's child: a node of its own and a validity buffer, which is absent.
      nodes.push(new FieldNode(column.rowCount * column.width, 0))
      place(0)
    }
    if (column.offsets !== undefined) place(column.offsets.byteLength)
    place(column.valueBytes)
  }
  return { nodes, regions, byteLength: at }
}

function* bodyPieces(columns: readonly ColumnSource[]): Iterable<Uint8Array> {
  for (const { validity, offsets, valueBytes, values } of columns) {
    if (validity !== undefined) {
      yield validity
      yield* padding(validity.byteLength)
    }
    if (offsets !== undefined) {
      yield new Uint8Array(offsets.buffer, offsets.byteOffset, offsets.byteLength)
      yield* padding(offsets.byteLength)
    }
    yield* values()
    yield* padding(valueBytes)
  }
}

const zeros = new Uint8Array(bodyAlignment)

function* padding(byteLength: number): Iterable<Uint8Array> {
  const rest = padded(byteLength, bodyAlignment) - byteLength
  if (rest > 0) yield zeros.subarray(0, rest)
}

function padded(size: number, alignment: number): number {
  return Math.ceil(size / alignment) * alignment
}

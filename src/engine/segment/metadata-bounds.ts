/**
 * Flatbuffers are not checked by their reader: in damaged metadata a length may say billions, and decoding would loop for
 * minutes. Looked at here before apache-arrow decodes: every length that it loops over.
 */

import type { Field } from 'apache-arrow/fb/field'
import { Footer } from 'apache-arrow/fb/footer'
import { Message } from 'apache-arrow/fb/message'
import { MessageHeader } from 'apache-arrow/fb/message-header'
import { RecordBatch } from 'apache-arrow/fb/record-batch'
import { ByteBuffer } from 'flatbuffers'

/** PostgreSQL's MaxHeapAttributeNumber is 1600; then _rowid and _inserted. */
const fieldCountMax = 1602
const keyValueCountMax = 16
/** Of a field: itself and a list's child; validity, offsets, values and the child's two. */
const nodesPerField = 2
const buffersPerField = 5

/** @returns what is out of bounds, or undefined */
export function footerDefect(bytes: Uint8Array): string | undefined {
  const footer = Footer.getRootAsFooter(new ByteBuffer(bytes))
  if (footer.recordBatchesLength() !== 1) return 'not one record batch'
  if (footer.dictionariesLength() !== 0) return 'dictionaries'
  const schema = footer.schema()
  if (schema === null) return 'no schema'
  const fieldCount = schema.fieldsLength()
  if (fieldCount < 0 || fieldCount > fieldCountMax) return 'impossible number of columns'
  if (!isCount(schema.customMetadataLength())) return 'impossible schema metadata'
  for (let position = 0; position < fieldCount; position += 1) {
    const field = schema.fields(position)
    if (field === null || !isField(field)) return 'impossible column'
    if (field.childrenLength() > 1) return 'column with several children'
    const child = field.childrenLength() === 1 ? field.children(0) : undefined
    if (child === null || (child !== undefined && !isLeaf(child))) return 'impossible child'
  }
  return undefined
}

/** @returns what is out of bounds, or undefined */
export function recordBatchDefect(bytes: Uint8Array): string | undefined {
  const message = Message.getRootAsMessage(new ByteBuffer(bytes))
  if (message.headerType() !== MessageHeader.RecordBatch) return 'another message'
  if (!isCount(message.customMetadataLength())) return 'impossible message metadata'
  const batch: RecordBatch | null = message.header(new RecordBatch())
  if (batch === null) return 'no record batch'
  if (!isCount(batch.nodesLength(), fieldCountMax * nodesPerField)) return 'impossible nodes'
  if (!isCount(batch.buffersLength(), fieldCountMax * buffersPerField)) return 'impossible buffers'
  if (batch.variadicBufferCountsLength() !== 0) return 'variadic buffers'
  return undefined
}

function isField(field: Field): boolean {
  return isCount(field.customMetadataLength()) && field.dictionary() === null
}

function isLeaf(field: Field): boolean {
  return isField(field) && field.childrenLength() === 0
}

function isCount(count: number, countMax = keyValueCountMax): boolean {
  return count >= 0 && count <= countMax
}

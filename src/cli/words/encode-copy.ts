/**
 * The word table as COPY data, in blocks of about a megabyte.
 * Binary (PostgreSQL's documentation of COPY, "Binary Format"; all integers big-endian):
 *   header   11 bytes signature, int32 flags, int32 length of extension
 *   row      int16 column count, then per column int32 length and that many bytes
 *   trailer  int16 -1
 * A vector is int16 dimensions, int16 0, dimensions × float4 (vector_send of pgvector).
 */
import type { WordTable } from '#cli/words/word-table.js'
import { vectorText } from '#cli/words/word-table.js'

const blockBytesTarget = 1 << 20
const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
/** Column count, id and rank: what a row costs beside its texts and its vector. */
const fixedRowBytes = 2 + 8 + 4 + 4 + 8 + 8

/** Columns id integer, word text, category text, rank integer, embedding vector(n). */
export function* encodeCopyBinary(
  table: WordTable,
): Generator<{ bytes: Buffer; rowsDone: number }> {
  const vectorBytes = 4 * table.dimensions
  let block = Buffer.allocUnsafe(2 * blockBytesTarget)
  let at = signature.copy(block, 0)
  at = block.writeInt32BE(0, at)
  at = block.writeInt32BE(0, at)
  for (let row = 0; row < table.rowCount; row++) {
    const word = table.words[row] ?? ''
    const category = table.categoryOf[row] ?? ''
    at = block.writeInt16BE(5, at)
    at = writeInteger(block, at, row + 1)
    at = writeText(block, at, word)
    at = writeText(block, at, category)
    at = writeInteger(block, at, table.rankOf[row] ?? 0)
    at = block.writeInt32BE(4 + vectorBytes, at)
    at = block.writeInt16BE(table.dimensions, at)
    at = block.writeInt16BE(0, at)
    for (let i = row * table.dimensions; i < (row + 1) * table.dimensions; i++) {
      at = block.writeFloatBE(table.vectors[i] ?? 0, at)
    }
    if (at >= blockBytesTarget) {
      yield { bytes: block.subarray(0, at), rowsDone: row + 1 }
      block = Buffer.allocUnsafe(2 * blockBytesTarget + fixedRowBytes)
      at = 0
    }
  }
  at = block.writeInt16BE(-1, at)
  yield { bytes: block.subarray(0, at), rowsDone: table.rowCount }
}

function writeInteger(block: Buffer, at: number, value: number): number {
  return block.writeInt32BE(value, block.writeInt32BE(4, at))
}

function writeText(block: Buffer, at: number, text: string): number {
  const length = block.write(text, at + 4, 'utf8')
  block.writeInt32BE(length, at)
  return at + 4 + length
}

/** The same rows in COPY's text format: tab between columns, backslash escapes. */
export function* encodeCopyText(table: WordTable): Generator<{ bytes: Buffer; rowsDone: number }> {
  let lines: string[] = []
  let length = 0
  for (let row = 0; row < table.rowCount; row++) {
    const word = escapeText(table.words[row] ?? '')
    const vector = vectorText(table.vectors, row, table.dimensions)
    const line = `${row + 1}\t${word}\t${table.categoryOf[row]}\t${table.rankOf[row]}\t${vector}\n`
    lines.push(line)
    length += line.length
    if (length >= blockBytesTarget) {
      yield { bytes: Buffer.from(lines.join('')), rowsDone: row + 1 }
      lines = []
      length = 0
    }
  }
  if (length > 0) yield { bytes: Buffer.from(lines.join('')), rowsDone: table.rowCount }
}

function escapeText(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
}

/** Frontend messages of one evaluation. */
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import {
  writeBind,
  writeDescribe,
  writeExecute,
  writeParse,
  writeQuery,
  writeSync,
} from '#net/pgwire/frontend-encode.js'
import { FrontendType } from '#net/pgwire/parse-frontend.js'
import type { BoundStatement } from '#postgres/contract.js'

/** Parse, Bind, Describe portal, Execute, Sync of the unnamed statement. */
export function extendedMessages(statement: BoundStatement): Uint8Array {
  const writer = new ByteWriter(statement.sql.length + 512)
  writeParse(writer, '', statement.sql, statement.parameterTypes)
  writeBind(writer, statement)
  writeDescribe(writer, 'portal', '')
  writeExecute(writer, '', 0)
  writeSync(writer)
  return writer.view()
}

/** COPY … (FORMAT binary) header: signature, flags, length of the extension area. */
export const copySignature: Uint8Array = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
const copyTrailer: Uint8Array = Uint8Array.of(0xff, 0xff)
// One message may hold 1 GB; smaller ones keep PostgreSQL's buffer small.
const copyDataBytesMax = 4 << 20

/** COPY table FROM STDIN with all its data: it must reach the instance in one piece. */
export function copyInMessages(sql: string, data: readonly Uint8Array[]): Uint8Array {
  const total = data.reduce((sum, piece) => sum + piece.length, 0)
  const writer = new ByteWriter(sql.length + total + 5 * (total / copyDataBytesMax + 4) + 64)
  writeQuery(writer, sql)
  for (const piece of data) {
    for (let at = 0; at < piece.length; at += copyDataBytesMax) {
      writer.begin(FrontendType.copyData)
      writer.bytes(piece.subarray(at, at + copyDataBytesMax))
      writer.end()
    }
  }
  writer.begin(FrontendType.copyDone)
  writer.end()
  return writer.view()
}

/** COPY BINARY tuples with header and trailer around them. */
export function copyInTuples(sql: string, tuples: Uint8Array): Uint8Array {
  return copyInMessages(sql, [copySignature, tuples, copyTrailer])
}

/**
 * A copy in memory of its own. To post a view to another thread copies all of the memory behind it, and slice() of a
 * Buffer is a view.
 */
export function ownCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

/** COPY TO sends one row per CopyData message: clients (psycopg, pgjdbc) read rows by message. */
import type { CopyTextOptions } from '#engine/index/native.js'

/** Whole CopyData messages ('d', int32 length, row) of rows that lie one after the other. */
export function frameCopyRows(
  rows: Uint8Array,
  rowCount: number,
  format: 'text' | 'csv' | 'binary',
  text: CopyTextOptions,
): Uint8Array {
  const framed = new Uint8Array(rows.byteLength + rowCount * 5)
  const view = new DataView(framed.buffer)
  const source = new DataView(rows.buffer, rows.byteOffset, rows.byteLength)
  const endOf =
    format === 'binary'
      ? (start: number) => tupleEnd(source, start)
      : format === 'text'
        ? (start: number) => rows.indexOf(10, start) + 1
        : (start: number) => csvEnd(rows, start, text)
  let from = 0
  let at = 0
  for (let row = 0; row < rowCount; row += 1) {
    const end = endOf(from)
    framed[at] = 0x64
    view.setInt32(at + 1, 4 + end - from)
    framed.set(rows.subarray(from, end), at + 5)
    at += 5 + end - from
    from = end
  }
  return framed
}

/** int16 field count, per field int32 length (-1: NULL) and bytes */
function tupleEnd(rows: DataView, start: number): number {
  let at = start + 2
  for (let fields = rows.getInt16(start); fields > 0; fields -= 1) {
    at += 4 + Math.max(0, rows.getInt32(at))
  }
  return at
}

/** A line break within quotes belongs to the value. A quote written as escape and quote counts twice, so parity holds. */
function csvEnd(rows: Uint8Array, start: number, text: CopyTextOptions): number {
  const quoteByte = text.quote.charCodeAt(0)
  const escapeByte = text.escape.charCodeAt(0)
  let quoted = false
  for (let at = start; at < rows.length; at += 1) {
    const byte = rows[at]
    if (quoted && byte === escapeByte && escapeByte !== quoteByte) at += 1
    else if (byte === quoteByte) quoted = !quoted
    else if (byte === 10 && !quoted) return at + 1
  }
  return rows.length
}

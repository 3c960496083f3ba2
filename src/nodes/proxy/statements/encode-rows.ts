/** Columns → DataRow messages, in the formats the client asked for. */
import type { Column } from '#engine/columnar/column.js'
import { native } from '#engine/index/native.js'
import { hasTextFormatter } from '#engine/types/format-text.js'
import type { TypeSettings } from '#engine/types/type-settings.js'
import type { RowChunk } from '#nodes/proxy/statements/result.js'

/** As in Bind: none = all text, one = for all, else one each. */
export function formatsOf(resultFormats: readonly number[], fieldCount: number): readonly number[] {
  if (resultFormats.length === fieldCount && fieldCount > 0) return resultFormats
  return new Array<number>(fieldCount).fill(resultFormats[0] ?? 0)
}

/** Whether the columns can be written without PostgreSQL under these settings. */
export function canEncode(
  typeNames: readonly string[],
  formats: readonly number[],
  settings: TypeSettings,
): boolean {
  // From extra_float_digits 1 on PostgreSQL prints the shortest exact digits, whatever the number.
  if (settings.extraFloatDigits < 1 || settings.byteaOutput !== 'hex')
    return formats.every((format) => format === 1)
  return typeNames.every((name, i) => formats[i] === 1 || hasTextFormatter(name, settings))
}

export function encodeRows(
  columns: readonly Column[],
  typeNames: readonly string[],
  formats: readonly number[],
  rowCount: number,
  rows?: Uint32Array,
): RowChunk {
  const typed = columns.map((column, i) => ({
    ...column,
    typeName: typeNames[i] ?? '',
    format: (formats[i] ?? 0) === 1 ? (1 as const) : (0 as const),
  }))
  return { data: native.encodeDataRows(typed, rowCount, rows), count: rows?.length ?? rowCount }
}

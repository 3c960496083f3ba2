import type { Column } from '#engine/columnar/column.js'
import { datumToFilterValue } from '#engine/plan/filter-value.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'

/**
 * False when the statistics of the segment rule all of the keys out: rising keys (serial) are looked for in few segments, new
 * ones in none. @param columns the key's columns of `rowCount` keys
 */
export function mayHoldKeys(
  manifest: Pick<SegmentManifest, 'columns'>,
  attnums: readonly number[],
  columns: readonly Column[],
  rowCount: number,
): boolean {
  const [column] = columns
  const [attnum] = attnums
  if (column === undefined || column.validity !== undefined) return true
  if (column.kind !== 'int16' && column.kind !== 'int32' && column.kind !== 'int64') return true
  const statistics = manifest.columns.find((candidate) => candidate.attnum === attnum)
  if (statistics?.min === undefined || statistics.max === undefined) return true
  const shape = { kind: column.kind, width: 0 }
  const min = datumToFilterValue(shape, Buffer.from(statistics.min, 'base64')) as number | bigint
  const max = datumToFilterValue(shape, Buffer.from(statistics.max, 'base64')) as number | bigint
  for (let row = 0; row < rowCount; row += 1) {
    const value = column.values[row] ?? 0
    if (value >= min && value <= max) return true
  }
  return false
}

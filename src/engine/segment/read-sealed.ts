/** The files of a sealed segment as rows again: views of the files' memory. */
import { InvariantError } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { corrupted, openSealedFile, type SealedFile } from '#engine/segment/sealed-file.js'
import { type DeletedRows, segmentFormatVersion } from '#engine/segment/write-sealed.js'

export interface SealedData {
  readonly rowCount: number
  /** By attribute number: what the file holds; columns that were added later are not here. */
  readonly columns: ReadonlyMap<number, Column>
  readonly rowIds: Float64Array
  readonly inserted: Float64Array
}

/** @throws XX001 */
export function openSealedData(bytes: Uint8Array): SealedData {
  const file = openChecked(bytes)
  const columns = new Map<number, Column>()
  for (const { attnum, column } of file.columns) if (attnum !== -1) columns.set(attnum, column)
  return {
    rowCount: file.rowCount,
    columns,
    rowIds: float64Column(file, '_rowid'),
    inserted: float64Column(file, '_inserted'),
  }
}

/** @throws XX001 */
export function openDeletes(bytes: Uint8Array): DeletedRows {
  const file = openChecked(bytes)
  return { rowIds: float64Column(file, '_rowid'), deleted: float64Column(file, '_deleted') }
}

function openChecked(bytes: Uint8Array): SealedFile {
  const file = openSealedFile(bytes)
  const version = Number(file.metadata.get('elanus:formatVersion'))
  if (version !== segmentFormatVersion) throw corrupted(`unknown version ${version}`)
  return file
}

function float64Column(file: SealedFile, name: string): Float64Array {
  const stored = file.columns.find((column) => column.name === name)
  if (stored?.column.kind !== 'float64' || stored.nullCount !== 0) throw corrupted(`no ${name}`)
  return stored.column.values
}

/** Position of a row id in ascending row ids, or -1. */
export function findRowId(rowIds: Float64Array, rowId: number, from = 0): number {
  let low = from
  let high = rowIds.length - 1
  const first = rowIds[low]
  if (first === undefined) return -1
  // Row ids are mostly consecutive: look where it would be then.
  if (rowIds[low + (rowId - first)] === rowId) return low + (rowId - first)
  while (low <= high) {
    const middle = (low + high) >>> 1
    const found = rowIds[middle]
    if (found === undefined) throw new InvariantError('SEG-4', 'row id position out of range')
    if (found === rowId) return middle
    if (found < rowId) low = middle + 1
    else high = middle - 1
  }
  return -1
}

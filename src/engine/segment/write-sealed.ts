/**
 * From rows to the files of a sealed segment (docs/formats/segment.md): which rows of which inputs, in what order, is
 * decided before (RowRuns); here become of them a data file, statistics, and a deletes file.
 */
import type { Column } from '#engine/columnar/column.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { deletedField, fieldOf, insertedField, rowIdField } from '#engine/segment/arrow-fields.js'
import { type FilePlan, planArrowFile } from '#engine/segment/arrow-file.js'
import { type ColumnSource, columnSource, float64Source } from '#engine/segment/column-source.js'
import type { ColumnStatistics } from '#engine/segment/manifest.js'
import { type RowRuns, wholeRun } from '#engine/segment/row-runs.js'
import { columnStatistics } from '#engine/segment/statistics.js'

export const segmentFormatVersion = 1

/** Rows as they come: growing rows or another sealed segment. Columns may be longer than rowIds. */
export interface SegmentInput {
  readonly rowIds: Float64Array
  readonly inserted: Float64Array
  /** The column or, if the input lacks it, a constant. */
  column(attnum: number): Column
}

export interface SealedPlan {
  readonly data: FilePlan
  readonly columns: readonly ColumnStatistics[]
  readonly rowCount: number
  readonly minRowId: number
  readonly maxRowId: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
}

/**
 * @param pause awaited between columns, so that a large segment does not hold the event loop
 */
export async function planSealedSegment(
  segmentId: number,
  shard: number,
  schema: TableSchema,
  inputs: readonly SegmentInput[],
  runs: RowRuns,
  pause: () => Promise<void>,
): Promise<SealedPlan> {
  const sources: ColumnSource[] = []
  const statistics: ColumnStatistics[] = []
  for (const column of schema.columns) {
    const parts = inputs.map((input) => input.column(column.attnum))
    sources.push(columnSource(parts, runs))
    await pause()
    statistics.push(await columnStatistics(column, parts, runs, pause))
    await pause()
  }
  const rowIds = inputs.map((input) => input.rowIds)
  const inserted = inputs.map((input) => input.inserted)
  sources.push(float64Source(rowIds, runs), float64Source(inserted, runs))
  const fields = [...schema.columns.map(fieldOf), rowIdField, insertedField]
  const data = planArrowFile(
    fields,
    sources,
    runs.rowCount,
    new Map([
      ['elanus:formatVersion', String(segmentFormatVersion)],
      ['elanus:segmentId', String(segmentId)],
      ['elanus:tableId', String(schema.tableId)],
      ['elanus:table', `${schema.schemaName}.${schema.name}`],
      ['elanus:incarnation', String(schema.incarnation)],
      ['elanus:shard', String(shard)],
    ]),
  )
  return { data, columns: statistics, rowCount: runs.rowCount, ...ranges(rowIds, inserted, runs) }
}

function ranges(
  rowIds: readonly Float64Array[],
  inserted: readonly Float64Array[],
  runs: RowRuns,
): Pick<SealedPlan, 'minRowId' | 'maxRowId' | 'minTimestamp' | 'maxTimestamp'> {
  if (runs.runCount === 0) return { minRowId: 0, maxRowId: -1, minTimestamp: 0, maxTimestamp: 0 }
  let minTimestamp = Number.POSITIVE_INFINITY
  let maxTimestamp = Number.NEGATIVE_INFINITY
  for (let run = 0; run < runs.runCount; run += 1) {
    const values = inserted[runs.inputs[run] ?? 0]
    const to = runs.to[run] ?? 0
    for (let row = runs.from[run] ?? 0; row < to; row += 1) {
      const timestamp = values?.[row] ?? 0
      if (timestamp < minTimestamp) minTimestamp = timestamp
      if (timestamp > maxTimestamp) maxTimestamp = timestamp
    }
  }
  const last = runs.runCount - 1
  return {
    minRowId: rowIds[runs.inputs[0] ?? 0]?.[runs.from[0] ?? 0] ?? 0,
    maxRowId: rowIds[runs.inputs[last] ?? 0]?.[(runs.to[last] ?? 0) - 1] ?? 0,
    minTimestamp,
    maxTimestamp,
  }
}

/** Deletes of a segment, ascending by row id. */
export interface DeletedRows {
  readonly rowIds: Float64Array
  readonly deleted: Float64Array
}

/** The rows whose deleted timestamp is not +Infinity. */
export function deletedRows(rowIds: Float64Array, deleted: Float64Array): DeletedRows {
  let count = 0
  for (let row = 0; row < rowIds.length; row += 1) {
    if ((deleted[row] ?? 0) !== Number.POSITIVE_INFINITY) count += 1
  }
  const result = { rowIds: new Float64Array(count), deleted: new Float64Array(count) }
  let at = 0
  for (let row = 0; row < rowIds.length; row += 1) {
    const timestamp = deleted[row] ?? 0
    if (timestamp === Number.POSITIVE_INFINITY) continue
    result.rowIds[at] = rowIds[row] ?? 0
    result.deleted[at] = timestamp
    at += 1
  }
  return result
}

export function planDeletesFile(segmentId: number, deletes: DeletedRows): FilePlan {
  const rowCount = deletes.rowIds.length
  const runs = wholeRun(rowCount)
  return planArrowFile(
    [rowIdField, deletedField],
    [float64Source([deletes.rowIds], runs), float64Source([deletes.deleted], runs)],
    rowCount,
    new Map([
      ['elanus:formatVersion', String(segmentFormatVersion)],
      ['elanus:segmentId', String(segmentId)],
    ]),
  )
}

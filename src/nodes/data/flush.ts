import { type Context, checkCancelled } from '#base/context.js'
import { invariant } from '#base/errors.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { missingColumn } from '#engine/segment/constant-column.js'
import type { FinishedGraph } from '#engine/segment/growing-interim.js'
import type { IndexReference, SegmentManifest } from '#engine/segment/manifest.js'
import { wholeRun } from '#engine/segment/row-runs.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'
import { deletedRows, planSealedSegment, type SegmentInput } from '#engine/segment/write-sealed.js'
import { putIndex } from '#nodes/data/build-index.js'
import type { Jobs } from '#nodes/data/jobs.js'
import { putSegment } from '#nodes/data/put-segment.js'

/** Writes rows that left a growing segment as a sealed segment. Retry: the same rows give the same objects. */
export async function flush(
  jobs: Jobs,
  segmentId: number,
  schema: TableSchema,
  rows: SealedRows,
  context: Context,
  graphs: readonly FinishedGraph[] = [],
): Promise<SegmentManifest> {
  checkCancelled(context)
  const { tableId, incarnation, shard, batch, rowIds, deleted } = rows
  invariant(
    'SEG-6',
    tableId === schema.tableId && incarnation === schema.incarnation,
    'rows of another table',
  )
  invariant('SEG-6', rowIds.length === batch.rowCount, 'row ids do not fit the rows')
  const runs = wholeRun(batch.rowCount)
  const input = inputOf(rows, schema)
  const plan = await planSealedSegment(segmentId, shard, schema, [input], runs, jobs.pause)
  const deletes = deletedRows(rowIds, deleted.subarray(0, rowIds.length))
  const indexes: IndexReference[] = []
  for (const { schema: index, index: graph } of graphs) {
    invariant('SEG-6', graph.rowCount === batch.rowCount, 'a graph over other rows')
    const { indexOid, attnum, metric } = index
    const object = await putIndex(
      jobs,
      { segmentId, tableId, incarnation },
      indexOid,
      graph,
      context,
    )
    indexes.push({ indexOid, attnum, metric, object })
  }
  return await putSegment(
    jobs.writer,
    { segmentId, shard, schema, indexes },
    plan,
    deletes,
    context,
  )
}

function inputOf(
  { attnums, batch, rowIds, inserted }: SealedRows,
  schema: TableSchema,
): SegmentInput {
  return {
    rowIds,
    inserted,
    column(attnum) {
      const column = batch.columns[attnums.indexOf(attnum)]
      if (column !== undefined) return column
      const added = schema.columns.find((candidate) => candidate.attnum === attnum)
      invariant('SEG-6', added !== undefined, () => `no column ${attnum}`)
      return missingColumn(added, batch.rowCount)
    },
  }
}

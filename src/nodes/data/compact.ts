/**
 * Merges flushed segments of one shard into one.
 *
 * 1. Map the inputs. 2. Merge their rows by row id, without the dropped ones (which of the deleted rows nobody can read any
 * more is the caller's decision). 3. Lay the new file out and write it front to back, values as views of the mapped
 * inputs: memory is bounded by offsets and validity bits, not by the rows. 4. Carry over the deletes of rows that stay.
 * Row ids and inserted timestamps stay what they are. Indexes are not merged: build them anew.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { InvariantError, invariant } from '#base/errors.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { missingColumn } from '#engine/segment/constant-column.js'
import { loadDeletes, loadSealedData } from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SealedData } from '#engine/segment/read-sealed.js'
import { mergeRuns } from '#engine/segment/row-runs.js'
import { checkOffsets } from '#engine/segment/sealed-file.js'
import {
  type DeletedRows,
  planSealedSegment,
  type SegmentInput,
} from '#engine/segment/write-sealed.js'
import type { Jobs } from '#nodes/data/jobs.js'
import { putSegment } from '#nodes/data/put-segment.js'

export interface CompactInput {
  readonly manifest: SegmentManifest
  /** Ascending: rows that do not come along. */
  readonly deletedRowIds: Float64Array
}

export async function compact(
  jobs: Jobs,
  segmentId: number,
  schema: TableSchema,
  inputs: readonly CompactInput[],
  context: Context,
): Promise<SegmentManifest> {
  const shard = sharedShard(inputs, schema)
  const loaded: SealedData[] = []
  for (const { manifest } of inputs) {
    checkCancelled(context)
    loaded.push(await loadSealedData(jobs.loader, manifest))
  }
  const runs = mergeRuns(
    loaded.map(({ rowIds }, i) => ({
      rowIds,
      droppedRowIds: inputs[i]?.deletedRowIds ?? new Float64Array(0),
    })),
  )
  const sources = loaded.map((data) => inputOf(data, schema))
  const plan = await planSealedSegment(segmentId, shard, schema, sources, runs, jobs.pause)
  const deletes = await remainingDeletes(jobs, inputs)
  return await putSegment(jobs.writer, { segmentId, shard, schema }, plan, deletes, context)
}

function sharedShard(inputs: readonly CompactInput[], schema: TableSchema): number {
  const shard = inputs[0]?.manifest.shard
  invariant('SEG-6', shard !== undefined, 'nothing to merge')
  for (const { manifest } of inputs) {
    invariant(
      'SEG-6',
      manifest.shard === shard &&
        manifest.tableId === schema.tableId &&
        manifest.incarnation === schema.incarnation,
      'segments of different shards or tables',
    )
  }
  return shard
}

function inputOf(
  { rowCount, columns, rowIds, inserted }: SealedData,
  schema: TableSchema,
): SegmentInput {
  return {
    rowIds,
    inserted,
    column(attnum) {
      const column = columns.get(attnum)
      if (column !== undefined) {
        checkOffsets(column)
        return column
      }
      const added = schema.columns.find((candidate) => candidate.attnum === attnum)
      if (added === undefined) throw new InvariantError('SEG-6', `no column ${attnum}`)
      return missingColumn(added, rowCount)
    },
  }
}

/** Deletes that the inputs' manifests know and that were not dropped, ascending. */
async function remainingDeletes(jobs: Jobs, inputs: readonly CompactInput[]): Promise<DeletedRows> {
  const remaining: [rowId: number, deleted: number][] = []
  for (const { manifest, deletedRowIds } of inputs) {
    const { rowIds, deleted } = await loadDeletes(jobs.loader, manifest)
    let drop = 0
    for (let i = 0; i < rowIds.length; i += 1) {
      const rowId = rowIds[i] ?? 0
      while (drop < deletedRowIds.length && (deletedRowIds[drop] ?? 0) < rowId) drop += 1
      if (deletedRowIds[drop] !== rowId) remaining.push([rowId, deleted[i] ?? 0])
    }
  }
  remaining.sort(([a], [b]) => a - b)
  return {
    rowIds: Float64Array.from(remaining, ([rowId]) => rowId),
    deleted: Float64Array.from(remaining, ([, deleted]) => deleted),
  }
}

/**
 * 1. Map the segment's data, find the vector column. 2. Build the graph over it on the add-on's threads.
 * 3. Save it to a temporary file and put that. 4. Hand out the manifest that names it instead of an older build.
 * Cancellation: between steps, and inside the build. Retry: from the start; an object nobody names is collected.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { InvariantError } from '#base/errors.js'
import type { VectorColumn } from '#engine/columnar/column.js'
import type { TableSchema, VectorIndexSchema } from '#engine/columnar/schema.js'
import type { NativeIndex } from '#engine/index/native.js'
import { missingColumn } from '#engine/segment/constant-column.js'
import { loadSealedData } from '#engine/segment/load-sealed.js'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { indexName } from '#engine/segment/object-names.js'
import type { SealedData } from '#engine/segment/read-sealed.js'
import type { Jobs } from '#nodes/data/jobs.js'
import { putManifest } from '#nodes/data/put-segment.js'
import { putFileObject } from '#nodes/data/write-object.js'

export async function buildIndex(
  jobs: Jobs,
  manifest: SegmentManifest,
  schema: TableSchema,
  index: VectorIndexSchema,
  onProgress: (rowsDone: number) => void,
  context: Context,
): Promise<SegmentManifest> {
  checkCancelled(context)
  const { indexOid, attnum, metric } = index
  const data = await loadSealedData(jobs.loader, manifest)
  const column = vectorColumn(data, schema, attnum)
  const object = await buildObject(jobs, manifest, column, index, onProgress, context)
  const others = manifest.indexes.filter((other) => other.indexOid !== indexOid)
  const next = { ...manifest, indexes: [...others, { indexOid, attnum, metric, object }] }
  await putManifest(jobs.writer, next)
  return next
}

function vectorColumn(data: SealedData, schema: TableSchema, attnum: number): VectorColumn {
  const added = schema.columns.find((candidate) => candidate.attnum === attnum)
  const column =
    data.columns.get(attnum) ??
    (added === undefined ? undefined : missingColumn(added, data.rowCount))
  if (column?.kind !== 'vector') throw new InvariantError('SEG-6', `no vector column ${attnum}`)
  return column
}

async function buildObject(
  jobs: Jobs,
  manifest: SegmentManifest,
  { values, validity, dimensions }: VectorColumn,
  { indexOid, metric, m, efConstruction }: VectorIndexSchema,
  onProgress: (rowsDone: number) => void,
  context: Context,
): Promise<ObjectReference> {
  const graph = await jobs.native.buildHnsw({
    values,
    validity,
    rowCount: manifest.rowCount,
    dimensions,
    metric,
    m,
    efConstruction,
    threads: jobs.threads,
    onProgress,
    signal: context.signal,
  })
  try {
    checkCancelled(context)
    return await putIndex(jobs, manifest, indexOid, graph, context)
  } finally {
    graph.close()
  }
}

export async function putIndex(
  jobs: Jobs,
  segment: Pick<SegmentManifest, 'tableId' | 'incarnation' | 'segmentId'>,
  indexOid: number,
  graph: NativeIndex,
  context: Context,
): Promise<ObjectReference> {
  const path = jobs.writer.temporaryPath()
  try {
    await graph.save(path)
    return await putFileObject(
      jobs.writer,
      path,
      (checksum) => indexName(segment, indexOid, jobs.writer.unique(), checksum),
      context,
    )
  } finally {
    await jobs.writer.files.remove(path)
  }
}

/** A query node as other processes call it; remote.ts is the other side. */
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { AggregateFragment, ScanFragment, SearchFragment } from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import type { QueryNode } from '#nodes/query/contract.js'

export function serveQuery(node: QueryNode): ServedContract {
  return {
    load: ([manifest, schema, when]) =>
      node.load(
        manifest as SegmentManifest,
        schema as TableSchema,
        when as 'now' | 'when read' | undefined,
      ),
    release: ([segmentId]) => node.release(segmentId as number),
    putSchema: async ([schema]) => node.putSchema(schema as TableSchema),
    applyDeletes: async ([segmentId, rowIds, at]) =>
      node.applyDeletes(segmentId as number, rowIds as Float64Array, at as Timestamp),
    search: ([segmentIds, fragment], context) =>
      node.search(segmentIds as number[], fragment as SearchFragment, context),
    scan: ([segmentIds, fragment], context) =>
      node.scan(segmentIds as number[], fragment as ScanFragment, context),
    aggregate: ([segmentIds, fragment], context) =>
      node.aggregate(segmentIds as number[], fragment as AggregateFragment, context),
  }
}

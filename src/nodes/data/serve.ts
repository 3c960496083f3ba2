/** A data node as other processes call it; remote.ts is the other side. */
import type { TableSchema, VectorIndexSchema } from '#engine/columnar/schema.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SegmentIdentity } from '#engine/segment/object-names.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'
import type { ServedContract } from '#net/rpc/calls-served.js'
import { serveLong } from '#net/rpc/long-call.js'
import type { DataNode } from '#nodes/data/contract.js'

type Deletes = { readonly rowIds: Float64Array; readonly deleted: Float64Array }
type CompactInputs = Parameters<DataNode['compact']>[2]

const namesPerPart = 1000

export function serveData(node: DataNode): ServedContract {
  return {
    flush: ([segmentId, schema, rows], context) =>
      serveLong(() =>
        node.flush(segmentId as number, schema as TableSchema, rows as SealedRows, context),
      ),
    buildIndex: ([manifest, schema, index], context) =>
      serveLong((report) =>
        node.buildIndex(
          manifest as SegmentManifest,
          schema as TableSchema,
          index as VectorIndexSchema,
          report,
          context,
        ),
      ),
    compact: ([segmentId, schema, inputs], context) =>
      serveLong(() =>
        node.compact(segmentId as number, schema as TableSchema, inputs as CompactInputs, context),
      ),
    writeDeletes: ([manifest, deletes], context) =>
      node.writeDeletes(manifest as SegmentManifest, deletes as Deletes, context),
    readDeletes: ([manifest], context) => node.readDeletes(manifest as SegmentManifest, context),
    async *listObjects(_, context) {
      let names: string[] = []
      for await (const name of node.listObjects(context)) {
        names.push(name)
        if (names.length < namesPerPart) continue
        yield names
        names = []
      }
      yield names
    },
    removeObjects: ([names], context) => node.removeObjects(names as string[], context),
    removeSegment: ([segment], context) => node.removeSegment(segment as SegmentIdentity, context),
  }
}

/** A data node in another process. */

import type { SegmentManifest } from '#engine/segment/manifest.js'
import { callLong } from '#net/rpc/long-call.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type { DataNode } from '#nodes/data/contract.js'

const target = { contract: 'data', object: '' }

export function remoteData(client: RpcClient): DataNode {
  return {
    // Graphs are memory of this process: there the index is built from the rows.
    flush: async (segmentId, schema, rows, context) =>
      (await callLong(
        client,
        target,
        'flush',
        [segmentId, schema, rows],
        context,
      )) as SegmentManifest,
    buildIndex: async (manifest, schema, index, onProgress, context) =>
      (await callLong(client, target, 'buildIndex', [manifest, schema, index], context, (rows) =>
        onProgress(rows as number),
      )) as SegmentManifest,
    compact: async (segmentId, schema, inputs, context) =>
      (await callLong(
        client,
        target,
        'compact',
        [segmentId, schema, inputs],
        context,
      )) as SegmentManifest,
    writeDeletes: async (manifest, deletes, context) =>
      (await client.call(target, 'writeDeletes', [manifest, deletes], context)) as SegmentManifest,
    readDeletes: async (manifest, context) =>
      (await client.call(target, 'readDeletes', [manifest], context)) as {
        readonly rowIds: Float64Array
        readonly deleted: Float64Array
      },
    async *listObjects(context) {
      for await (const names of client.stream(target, 'listObjects', [], context)) {
        yield* names as string[]
      }
    },
    removeObjects: async (names, context) =>
      void (await client.call(target, 'removeObjects', [names], context)),
    removeSegment: async (segment, context) =>
      void (await client.call(target, 'removeSegment', [segment], context)),
    // It goes on: it is not ours.
    stop: async () => {},
  }
}

/** One life of a query node in another process: of another life its server says 57P03. */
import { backgroundContext } from '#base/context.js'
import type { AggregatePart, ScanPart, ScanSummary, SearchPart } from '#engine/plan/fragment.js'
import type { RpcClient } from '#net/rpc/rpc-client.js'
import type { QueryReplica } from '#nodes/query/contract.js'

export function remoteQuery(client: RpcClient, life: string): QueryReplica {
  const target = { contract: 'query', object: life }
  return {
    load: async (manifest, schema, when) =>
      void (await client.call(target, 'load', [manifest, schema, when], backgroundContext)),
    release: async (segmentId) =>
      void (await client.call(target, 'release', [segmentId], backgroundContext)),
    putSchema: async (schema) =>
      void (await client.call(target, 'putSchema', [schema], backgroundContext)),
    applyDeletes: async (segmentId, rowIds, at) =>
      void (await client.call(target, 'applyDeletes', [segmentId, rowIds, at], backgroundContext)),
    search: async (segmentIds, fragment, context) =>
      (await client.call(target, 'search', [segmentIds, fragment], context)) as SearchPart,
    scan: (segmentIds, fragment, context) =>
      client.stream(target, 'scan', [segmentIds, fragment], context) as AsyncGenerator<
        ScanPart,
        ScanSummary
      >,
    aggregate: async (segmentIds, fragment, context) =>
      (await client.call(target, 'aggregate', [segmentIds, fragment], context)) as AggregatePart,
    // It goes on: it is not ours.
    stop: async () => {},
  }
}

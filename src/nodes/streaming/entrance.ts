import type { StreamingNode } from '#nodes/streaming/contract.js'

/** The contract of a node that is found anew for each call: what finding throws, the call is rejected with. */
export function entrance(node: () => StreamingNode): StreamingNode {
  return {
    serviceTime: () => node().serviceTime(),
    putTable: async (schema) => node().putTable(schema),
    dropTable: async (tableId) => node().dropTable(tableId),
    commit: async (request, context) => node().commit(request, context),
    term: async () => node().term(),
    prepare: async (transactionId, request, context) =>
      node().prepare(transactionId, request, context),
    finish: async (transactionId, committedAt) => node().finish(transactionId, committedAt),
    outcome: async (transactionId) => node().outcome(transactionId),
    unsettledDdl: async (turn, context) => node().unsettledDdl(turn, context),
    settleDdl: async (timestamp) => node().settleDdl(timestamp),
    stage: async (tableId, shard) => node().stage(tableId, shard),
    findConflict: async (write, context) => node().findConflict(write, context),
    search: async (fragment, context) => node().search(fragment, context),
    async *scan(fragment, context) {
      return yield* node().scan(fragment, context)
    },
    aggregate: async (fragment, context) => node().aggregate(fragment, context),
    flush: async (tableId, context) => node().flush(tableId, context),
    buildIndex: async (tableId, indexOid, onProgress, context, which) =>
      node().buildIndex(tableId, indexOid, onProgress, context, which),
    compact: async (tableId, context, scope) => node().compact(tableId, context, scope),
    keepHistory: async (forMs) => node().keepHistory(forMs),
    snapshot: async (at, context) => node().snapshot(at, context),
    attach: async (shard, context) => node().attach(shard, context),
    statistics: async (tableId) => node().statistics(tableId),
    activity: async () => node().activity(),
    async stop() {
      await node().stop()
    },
  }
}

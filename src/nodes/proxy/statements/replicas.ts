/** WITH (replicas = n): what the number comes to where it is said. */
import { notSupported, SqlState } from '#base/errors.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { replicasOf } from '#nodes/proxy/statements/replica-count.js'
import type { CatalogSnapshot } from '#postgres/contract.js'

/** @throws 0A000 for what has no segments of its own */
export function sayWhatReplicasMean(
  { environment, out }: Execution,
  before: CatalogSnapshot,
  after: CatalogSnapshot,
): void {
  for (const table of after.tables.values()) {
    const wanted = replicasOf(table)
    const known = before.tables.get(table.oid)
    if (wanted === undefined || known === table) continue
    if (known !== undefined && replicasOf(known) === wanted) continue
    if (table.kind !== 'table') {
      throw notSupported('a partitioned table has no replicas', 'Set the number on its partitions.')
    }
    const fact = environment.facts?.replicas()
    if (fact === undefined || wanted <= fact.nodeCount) continue
    const message = fact.isStandalone
      ? `"${table.name}": a server that is one process holds each segment once; replicas = ${wanted} is kept for a cluster`
      : `"${table.name}": segments are on ${fact.nodeCount} query node(s) until there are ${wanted}`
    out.notice({ severity: 'NOTICE', sqlState: SqlState.successfulCompletion, message })
  }
}

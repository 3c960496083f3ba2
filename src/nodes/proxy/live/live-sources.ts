/** Where the facts of live tables come from. */
import type { Datum } from '#engine/columnar/column.js'
import type { ProxyLocks } from '#nodes/locks/contract.js'
import type { OtherProxies } from '#nodes/proxy/contract.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ClusterFacts } from '#nodes/proxy/live/cluster-facts.js'
import type { TableCounters } from '#nodes/proxy/live/table-counters.js'
import type { Progress } from '#nodes/proxy/session/progress.js'
import type { SessionRegistry } from '#nodes/proxy/session/registry.js'
import type { Postgres } from '#postgres/contract.js'

export interface LiveSources {
  readonly postgres: Postgres
  readonly streaming: Pick<
    DistributedStreaming,
    'statistics' | 'told' | 'activities' | 'logChannelOf'
  >
  readonly tableCounters: TableCounters
  readonly facts: ClusterFacts | undefined
  readonly progress: Progress
  readonly sessions: SessionRegistry
  readonly locks: Pick<ProxyLocks, 'list'>
  readonly others: Pick<OtherProxies, 'sessions'> | undefined
}

export type LiveRow = readonly Datum[]

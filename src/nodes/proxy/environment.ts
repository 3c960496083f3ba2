import type { Mutex } from '#base/async/mutex.js'
import type { Runtime } from '#base/runtime.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { ProxyLocks } from '#nodes/locks/contract.js'
import type { OtherProxies } from '#nodes/proxy/contract.js'
import type { DistributedStreaming } from '#nodes/proxy/distribute/distributed-streaming.js'
import type { ClusterFacts } from '#nodes/proxy/live/cluster-facts.js'
import type { LiveTables } from '#nodes/proxy/live/live-tables.js'
import type { TableCounters } from '#nodes/proxy/live/table-counters.js'
import type { PlanCache } from '#nodes/proxy/plan/plan-cache.js'
import type { CatalogChanges } from '#nodes/proxy/session/catalog-changes.js'
import type { DroppedTables } from '#nodes/proxy/session/dropped-tables.js'
import type { Progress } from '#nodes/proxy/session/progress.js'
import type { SessionRegistry } from '#nodes/proxy/session/registry.js'
import type { Sequences } from '#nodes/proxy/statements/sequences.js'
import type { Postgres } from '#postgres/contract.js'

/** A statement that has ended, or the commit of those that came before Sync. */
export interface StatementReport {
  /** select, insert … as postgres/classify.ts names them; commit */
  readonly kind: string
  /** Without parameters. Undefined where the text may hold a secret, as CREATE ROLE's may. */
  readonly sql: string | undefined
  readonly queryId: string
  readonly user: string
  readonly ms: number
  /** Undefined: it succeeded. */
  readonly sqlState: string | undefined
}

/** What all sessions of a proxy share. */
export interface ProxyEnvironment {
  readonly postgres: Postgres
  readonly streaming: DistributedStreaming
  readonly coordinator: Coordinator
  readonly runtime: Runtime
  readonly retentionMs: number
  /** Where objects lie, as --objects has it: what a backup copies. */
  readonly objectsUrl: string
  readonly live: LiveTables
  readonly tableCounters: TableCounters
  /** undefined: nobody says. */
  readonly facts: ClusterFacts | undefined
  readonly plans: PlanCache
  readonly sequences: Sequences
  readonly droppedTables: DroppedTables
  readonly progress: Progress
  readonly locks: ProxyLocks
  /** This life of the proxy, among all proxies. */
  readonly proxyId: string
  readonly sessions: SessionRegistry
  readonly catalogChanges: CatalogChanges
  /** Held by the one transaction that has DDL pending, from its first DDL to its end. */
  readonly ddlLock: Mutex
  readonly onStatement: ((report: StatementReport) => void) | undefined
  /** Held while the catalog follows other proxies, and by the transaction that has the turn among them. */
  readonly catalogLock: Mutex
  /** undefined: there are none. */
  readonly others: OtherProxies | undefined
}

/** What the main thread asks of an instance's thread, and what comes back. Everything here can be cloned and transferred. */
import type {
  BoundStatement,
  DdlEntry,
  Description,
  EvaluationResult,
  SequenceState,
  Statement,
  TableLoad,
} from '#postgres/contract.js'
import type { InstanceKind } from '#postgres/start-options.js'

export interface JobSettings {
  readonly key: string
  readonly user: string
  readonly role: string | undefined
  readonly gucs: readonly (readonly [string, string])[]
}

/** A DDL entry with what PostgreSQL does not know taken out of it (table-options.ts). */
export interface DdlStep {
  readonly sql: string
  /** Undefined: where the counter stands (tryDdl). */
  readonly firstOid: number | undefined
  readonly settings: DdlEntry['settings']
  readonly options: OptionsEdit | undefined
}

/** Storage options of ours to keep in pg_class.reloptions. */
export interface OptionsEdit {
  /** As it stands in the statement, quoted. */
  readonly relation: string
  readonly kind: 'create' | 'alter'
  readonly set: readonly (readonly [string, string])[]
  readonly reset: readonly string[]
}

export interface DescribeJob {
  readonly kind: 'describe'
  readonly statement: Statement
  readonly settings: JobSettings
  readonly pendingDdl: readonly DdlStep[]
}

export interface ExplainJob {
  readonly kind: 'explain'
  readonly statement: Statement
  readonly settings: JobSettings
  readonly pendingDdl: readonly DdlStep[]
}

export interface EvaluateJob {
  readonly kind: 'evaluate'
  readonly statement: BoundStatement
  readonly settings: JobSettings
  readonly pendingDdl: readonly DdlStep[]
  readonly loads: readonly TableLoad[]
  readonly sequences: readonly SequenceState[]
  readonly sessionSequences: readonly SequenceState[]
  readonly transactionStartMs: number | undefined
  readonly captureTables: readonly number[]
  readonly reportLocks: boolean
  /** SQL of ours to run when the rows are loaded. */
  readonly afterLoads: string | undefined
  readonly copyData: Uint8Array | undefined
  /** Loaded rows must be in the unique indexes of the tables that may change: ON CONFLICT. */
  readonly needsKeys: boolean
  /** It may call functions of users: what they do to the catalog would be rolled back unseen. */
  readonly callsFunctions: boolean
}

export interface ApplyJob {
  readonly kind: 'apply'
  readonly steps: readonly DdlStep[]
  /** All steps or none; else one transaction each (replay of a log that was accepted). */
  readonly atomic: boolean
  /** Whether to say what became of the catalog; of atomic ones. */
  readonly wantsCatalog?: boolean
}

export interface ApplyResult {
  /** Where the counter of OIDs stands after the last step. */
  readonly nextOid: number
  /** undefined: it was not asked for. */
  readonly catalog?: RawCatalog | undefined
}

export interface TryDdlJob {
  readonly kind: 'tryDdl'
  readonly pendingDdl: readonly DdlStep[]
  readonly step: DdlStep
  /** Where the counter stands when nothing is pending. */
  readonly nextOid: number
}

export interface TryDdlResult {
  readonly commandTag: string
  readonly notices: readonly Uint8Array[]
  readonly firstOid: number
  readonly catalog: RawCatalog
}

export interface SnapshotJob {
  readonly kind: 'snapshot'
}

/** Its files, for others to start from: of an instance that has replayed DDL and done nothing else. */
export interface ImageJob {
  readonly kind: 'image'
}

/** Answers of the queries in catalog-queries.ts. */
export interface RawCatalog {
  readonly json: string
  /** attmissingval in binary: [table OID, attnum, value]. */
  readonly missing: readonly (readonly [number, number, Uint8Array])[]
  /** Only the tables, types and sequences that have changed; all else is as before. */
  readonly isChange: boolean
}

export interface Jobs {
  readonly describe: readonly [DescribeJob, Description]
  readonly explain: readonly [ExplainJob, string]
  readonly evaluate: readonly [EvaluateJob, EvaluationResult]
  readonly apply: readonly [ApplyJob, ApplyResult]
  readonly tryDdl: readonly [TryDdlJob, TryDdlResult]
  readonly snapshot: readonly [SnapshotJob, RawCatalog]
  /** A bundle in shared memory. */
  readonly image: readonly [ImageJob, Uint8Array]
}
export type Job = Jobs[keyof Jobs][0]
export type JobResult<K extends keyof Jobs> = Jobs[K][1]

export interface Request {
  readonly id: number
  readonly job: Job
}

export interface SerializedError {
  readonly sqlState: string
  readonly message: string
  readonly fields: Readonly<Record<string, string | number>>
}

export type Reply =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'result'
      readonly id: number
      readonly result: unknown
      readonly memoryBytes: number
      readonly isSpoilt: boolean
    }
  | {
      readonly kind: 'error'
      readonly id: number
      readonly error: SerializedError
      readonly memoryBytes: number
      readonly isSpoilt: boolean
    }
  /** The instance is dead; the thread ends. */
  | { readonly kind: 'dead'; readonly id: number; readonly reason: string }

export interface WorkerData {
  readonly instanceKind: InstanceKind
  /** The snapshot bundle, shared. */
  readonly snapshot: Uint8Array
  /** Files to start from in place of the snapshot's, shared. */
  readonly image: Uint8Array | undefined
  readonly compiled: unknown
}

/** What backup and restore ask of a server, as JSON: answers of CALL elanus.… (call.ts). */
import type { Timestamp } from '#base/timestamp.js'
import type { AttachedShard, ChannelSnapshot } from '#nodes/streaming/contract.js'
import type { DdlEntry } from '#postgres/contract.js'

export interface TableFacts {
  readonly oid: number
  readonly schemaName: string
  readonly name: string
  readonly incarnation: number
  readonly shardCount: number
  /** Those that have objects. */
  readonly indexes: readonly { readonly oid: number; readonly name: string }[]
}

export interface DatabaseFacts {
  /** Where its objects lie, as --objects has it; keys are not part of it. */
  readonly objects: string
  readonly tables: readonly TableFacts[]
}

export interface SequenceFacts {
  readonly schemaName: string
  readonly name: string
  /** Decimal. */
  readonly lastValue: string
  readonly isCalled: boolean
}

export interface SnapshotFacts extends DatabaseFacts {
  /** Everything committed at or before is in it, and what came after is left out by whoever copies. */
  readonly timestamp: Timestamp
  readonly ddl: readonly DdlEntry[]
  readonly shards: readonly ChannelSnapshot[]
  readonly sequences: readonly SequenceFacts[]
  readonly passwords: readonly { readonly role: string; readonly verifier: string }[]
}

export interface AttachRequest {
  readonly shards: readonly AttachedShard[]
}

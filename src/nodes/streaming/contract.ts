/**
 * The streaming node: owns channels. Checks a transaction's assertions, stamps it, appends it to the log, applies it to
 * growing segments, acknowledges; answers reads over the view of a channel (growing here, sealed on query nodes).
 *
 * WAL-1 an acknowledged commit survives. TXN-1 a transaction is seen whole or not at all. VIEW-1 a read at T sees
 * exactly what was acknowledged at or before T.
 */
import type { Context } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type {
  AggregateFragment,
  AggregatePart,
  ScanFragment,
  ScanPart,
  ScanSummary,
  SearchFragment,
  SearchPart,
} from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SegmentHolder } from '#nodes/query/contract.js'

/** Log channels share the shards of all tables by this rule; the count is fixed when the database is made. */
export function logChannelOf(tableId: number, shard: number, logChannelCount: number): string {
  return `log-${(tableId + shard) % logChannelCount}`
}

/**
 * The coordinator's counter of turns for DDL, from 1. A turn's number is durable before streaming nodes are asked for unsettledDdl()
 * in it: one that opens later, and was not asked, finds it there.
 */
export const ddlTurnCounter = 'ddl-turns'

/** Rows that a transaction adds to and removes from one shard of one table. */
export interface ChannelWrite {
  readonly tableId: number
  readonly shard: number
  /** All rows visible before this transaction go (TRUNCATE); applied before inserts. */
  readonly truncate: boolean
  /** Rows to delete (ascending). Assertion: each is still live, else 40001 'could not serialize access due to concurrent update'. */
  readonly deletes: Float64Array
  /** All columns of the schema, in its order; several batches. Assertion: unique keys are absent, else 23505. */
  readonly inserts: readonly ColumnBatch[]
  /**
   * Indexes of the unique keys whose rows may lie in any shard, as the proxy knows the table: of these it has the other log
   * channels assert what is inserted. Where there is another one by now the rows are refused with 40001.
   */
  readonly keysElsewhere?: readonly number[] | undefined
}

/** DDL that commits together with data: opaque bytes for the log, handed back to the coordinator at recovery. */
export interface CommitRequest {
  readonly writes: readonly ChannelWrite[]
  /** Staged bulk rows (COPY) that become part of this transaction. */
  readonly staged: readonly StagedRows[]
  /** Assertion: these keys exist and stay (foreign keys), else 23503. */
  readonly references: readonly KeyReference[]
  /** Timestamp the transaction read at; with `repeatableRead` any row it deletes must not have changed since. */
  readonly readAt: Timestamp
  /** Assertion: it is stamped below, else 40001. What it locked may be another's from then on. */
  readonly before?: Timestamp | undefined
  readonly ddl?: Uint8Array | undefined
  /** In which the DDL was made; undefined: nobody else changes the catalog. Assertion: no later turn has asked for unsettledDdl(), else 40001. */
  readonly ddlTurn?: number | undefined
  /** Assertion: no live row has these keys, else 23505. For UNIQUE constraints whose rows lie on several log channels. */
  readonly absentKeys?: readonly AbsentKeys[] | undefined
  /** This node is the last of several participants: its commit record decides for all. */
  readonly decides?: Decision | undefined
}

/**
 * A transaction over several log channels: `<log channel of the deciding participant>/<its term>/<unique>`. That participant
 * refuses ids of a term that is not its own, so that what it once called aborted stays so.
 */
export type TransactionId = string

export interface Decision {
  readonly transactionId: TransactionId
  /** The other log channels, which have prepared. */
  readonly participants: readonly string[]
  /** The newest of their prepare timestamps: the commit timestamp is above. */
  readonly preparedAt: Timestamp
}

/** Keys that rows on another log channel bring. */
export interface AbsentKeys {
  readonly tableId: number
  readonly indexOid: number
  /** The key's columns, in the key's order. */
  readonly keys: ColumnBatch
}

export type Outcome =
  | { readonly kind: 'committed'; readonly timestamp: Timestamp }
  /** For good: a commit that comes later is refused. */
  | { readonly kind: 'aborted' }
  /** Its commit record is on the way to the log. */
  | { readonly kind: 'undecided' }

export interface KeyReference {
  readonly tableId: number
  readonly indexOid: number
  readonly constraintName: string
  /** One Datum per key column. */
  readonly key: readonly Datum[]
  /** Where the key was seen: which log channel asserts it. Undefined: by the hash of a primary key. */
  readonly shard?: number | undefined
}

/** Rows already in the log but not part of anything until committed; dropped on abort, crash or disconnect. */
export interface StagedRows {
  readonly tableId: number
  readonly shard: number
  readonly rowCount: number
  /**
   * Waits while memory is short. @throws 53200 when it stays so: give the rows up then; the context's reason, when it waits
   */
  append(batch: ColumnBatch, context?: Context): Promise<void>
  /** Gives up the rows. Idempotent; no effect after commit. */
  abort(): Promise<void>
}

export interface RecoveredDdl {
  /** Of the commit. */
  readonly timestamp: Timestamp
  readonly ddl: Uint8Array
}

export interface CommitResult {
  readonly timestamp: Timestamp
}

/** Owner of one log channel. */
export interface StreamingNode {
  /** The newest timestamp at which everything acknowledged is readable: what a strong read uses. */
  serviceTime(): Timestamp

  /**
   * Creates the channels of a new table, or takes over a changed schema (columns, keys, indexes). Durable. To be called before
   * the commit whose rows have the new form. A higher incarnation: rows inserted from now on have it, and keys are checked
   * among them alone; rows of the old one go with the commit whose write says `truncate`, so that a rewrite is atomic.
   * @throws 23505 'could not create unique index' when rows that are there break a new key (not looked at in a rewrite)
   */
  putTable(schema: TableSchema): Promise<void>
  /** Forgets the table's channels; objects are collected later. */
  dropTable(tableId: number): Promise<void>

  /** The owner's term: rises with every owner of the log channel. */
  term(): Promise<number>
  /** @throws DatabaseError 23505, 23503, 40001; 53200 when rows find no room in memory; StoreError when the log fails */
  commit(request: CommitRequest, context: Context): Promise<CommitResult>
  /**
   * The part of a transaction over several log channels that does not decide: asserts, enters, logs; resolves when durable.
   * From its timestamp on reads and conflicting commits wait here until finish(). Repeating it with the same id is safe.
   * @throws as commit(); 40001 when the id was finished before
   */
  prepare(
    transactionId: TransactionId,
    request: CommitRequest,
    context: Context,
  ): Promise<{ readonly preparedAt: Timestamp }>
  /** What became of a prepared transaction; undefined: aborted. Durable when it resolves. Idempotent. */
  finish(transactionId: TransactionId, committedAt: Timestamp | undefined): Promise<void>
  /** Asked of the deciding participant by the others (or by a proxy that heard no answer). */
  outcome(transactionId: TransactionId): Promise<Outcome>
  /**
   * DDL of commits here, by time, of which nobody has said that the DDL log has it: their proxy may have died in between.
   * @param turn rises with each who may change the catalog: from here on no DDL of turns before commits here
   */
  unsettledDdl(turn: number, context: Context): Promise<readonly RecoveredDdl[]>
  /** The DDL log has the DDL of this commit, or never will: it need not be handed back any more. */
  settleDdl(timestamp: Timestamp): Promise<void>
  /**
   * Opens staged rows for a bulk write; keys are checked as rows arrive (23505 on append) and again at commit: of two open
   * stages with the same key the first to commit has it, nobody waits for a stage. append() resolves when the rows are on
   * their way; commit() waits until they are durable.
   */
  stage(tableId: number, shard: number): Promise<StagedRows>
  /** Statement-time check: the first insert whose unique key exists (committed, not in `deletes`), or undefined. */
  findConflict(write: ChannelWrite, context: Context): Promise<KeyConflict | undefined>

  search(fragment: SearchFragment, context: Context): Promise<SearchPart>
  /** Parts of some thousand rows. The iterator's return value is the summary. */
  scan(fragment: ScanFragment, context: Context): AsyncGenerator<ScanPart, ScanSummary>
  aggregate(fragment: AggregateFragment, context: Context): Promise<AggregatePart>

  /** Seals what grows of the table and waits until it is flushed (CHECKPOINT: of all tables with undefined). */
  flush(tableId: number | undefined, context: Context): Promise<void>
  /**
   * Seals, flushes and builds the vector index over everything that is there now; resolves when every sealed segment has it.
   * onProgress: rows done and in all (pg_stat_progress_create_index).
   */
  buildIndex(
    tableId: number,
    indexOid: number,
    onProgress: (done: number, total: number) => void,
    context: Context,
    /** 'all' (REINDEX): also where there is one; default: where it is missing. Searches use the old one until the new one is there. */
    which?: 'missing' | 'all',
  ): Promise<void>
  /**
   * Seals, flushes, and merges sealed segments of the table into few, without deleted rows that no read is promised to see;
   * indexes are built with them. What nobody reads any more is removed before it resolves.
   */
  compact(tableId: number, context: Context, scope?: CompactionScope): Promise<CompactionReport>

  /** For so long nothing is dropped that a read at this time or later sees; VACUUM FULL does not care. */
  keepHistory(forMs: number): Promise<void>
  /**
   * Seals and flushes until everything visible at the timestamp is in objects, and names them: for backup. They may hold more,
   * from after the timestamp. @throws 72000 when rows of that time are gone
   */
  snapshot(at: Timestamp, context: Context): Promise<readonly ChannelSnapshot[]>
  /**
   * Makes segments that lie in the object store those of a shard that has never had a row: restore. Idempotent.
   * @throws 55000 when it has had rows
   */
  attach(shard: AttachedShard, context: Context): Promise<void>

  /** Live rows, bytes and segments: pg_class.reltuples, pg_relation_size, elanus.segments. */
  statistics(tableId: number): Promise<TableStatistics>
  /** The log channel, and what is done or waits in the background: elanus.channels, elanus.jobs. */
  activity(): Promise<StreamingActivity>
  stop(): Promise<void>
}

/**
 * 'worthwhile' (VACUUM): many small segments, and those with some rows that nobody may read any more. 'all', the default: all that
 * are not as large as they may be. 'now' (VACUUM FULL): also rows deleted within the retention go; reads at timestamps before the
 * newest of these deletes get 72000 from then on.
 */
export type CompactionScope = 'worthwhile' | 'all' | 'now'

export interface ChannelSnapshot {
  readonly tableId: number
  readonly shard: number
  readonly nextRowId: number
  readonly segments: readonly SegmentManifest[]
}

/** The manifests are of this table, this incarnation and this shard, with segment ids of this database. */
export interface AttachedShard extends ChannelSnapshot {
  /** What was deleted before it may be missing: earlier reads get 72000. */
  readonly readableFrom: Timestamp
}

export interface CompactionReport {
  readonly removedRows: number
  readonly mergedSegments: number
  readonly writtenSegments: number
  /** Of objects, indexes and deletes included; negative: indexes came that were not there. */
  readonly freedBytes: number
}

/** A process with streaming nodes, as the leading coordinator sees it. Orders may be repeated. */
export interface LogChannelHolder {
  owned(): Promise<readonly string[]>
  /** Resolves when the log channel is owned there, or was before. */
  take(logChannel: string): Promise<void>
  /** Resolves when it is owned there no more. */
  give(logChannel: string): Promise<void>
}

export interface KeyConflict {
  readonly tableId: number
  readonly indexOid: number
  /** Position among the write's inserts, over all batches. */
  readonly row: number
  readonly key: readonly Datum[]
  /** Row that holds the key; -1 if it is another row of the same write. */
  readonly rowId: number
}

export interface SegmentStatistics {
  readonly segmentId: number
  readonly stage: 'growing' | 'sealed' | 'flushed' | 'indexed'
  readonly shard: number
  readonly rowCount: number
  readonly deletedCount: number
  readonly bytes: number
  readonly indexBytes: number
  /** Of the bytes: what merging would give back, as the share of rows that are deleted. */
  readonly garbageBytes: number
  /** Query nodes that have it, or shall; undefined: it grows, or there is one that has all. */
  readonly holders?: readonly SegmentHolder[] | undefined
}

export interface IndexBuild {
  readonly done: number
  readonly total: number
}

export interface TableStatistics {
  readonly liveRows: number
  readonly deadRows: number
  readonly bytes: number
  readonly indexBytes: ReadonlyMap<number, number>
  /** By index: rows of flushed segments, and how many of them it has, as long as it lacks some. The background builds the rest. */
  readonly indexBuilds: ReadonlyMap<number, IndexBuild>
  readonly segments: readonly SegmentStatistics[]
}

export type JobKind = 'flush' | 'build index' | 'compact' | 'write deletes'

export interface JobReport {
  readonly kind: JobKind
  readonly state: 'running' | 'waiting'
  readonly tableId: number
  /** The segment that is made, or changed. */
  readonly segmentId: number
  /** 0: none. */
  readonly indexOid: number
  /** Unix milliseconds; 0: it waits. */
  readonly startedMs: number
  /** Rows. */
  readonly done: number
  readonly total: number
  /** The data node that does it; undefined: the owner of the log channel itself. */
  readonly node?: string | undefined
}

export interface StreamingActivity {
  readonly logChannel: string
  readonly term: number
  /** Everything committed at or before can be read. */
  readonly serviceTime: Timestamp
  /** The log begins at the first position and ends before the second. */
  readonly logStart: number
  readonly logEnd: number
  readonly logBytes: number
  readonly shardCount: number
  readonly jobs: readonly JobReport[]
}

/**
 * The embedded PostgreSQL as the proxy sees it: the catalog (schema, Describe, EXPLAIN, catalog queries, DDL) and the
 * evaluators (any statement, verbatim, over rows handed to them). Instances run in worker threads; tables in them hold
 * no rows between calls. Neither is a security boundary: privileges are decided in the proxy before rows are fetched.
 */
import type { Context } from '#base/context.js'
import type { ColumnSchema, KeyConstraint, VectorIndexSchema } from '#engine/columnar/schema.js'

/** One statement as it is executed: text of exactly one SQL statement, typed parameters, wanted formats. */
export interface Statement {
  readonly sql: string
  /** OIDs given by the client; 0 or missing = infer. */
  readonly parameterTypes: readonly number[]
}

export interface BoundStatement extends Statement {
  readonly parameters: readonly (Uint8Array | null)[]
  /** As in Bind: none = all text; one = for all; else one each. 0 text, 1 binary. */
  readonly parameterFormats: readonly number[]
  readonly resultFormats: readonly number[]
}

/** What of the session shows in a statement's result. Set with SET LOCAL around each run. */
export interface SessionSettings {
  readonly user: string
  /** SET ROLE; undefined: the session user. */
  readonly role?: string | undefined
  /** Every GUC that differs from the default, by lower-case name, as its text. Includes search_path, timezone, datestyle … */
  readonly gucs: ReadonlyMap<string, string>
  /** Cheap identity of (role, gucs) for caches: equal keys, equal settings. */
  readonly key: string
}

/** One DDL statement as it was executed: replaying the list in order gives the same catalog with the same OIDs. */
export interface DdlEntry {
  readonly sql: string
  /** TransamVariables->nextOid before it ran. */
  readonly firstOid: number
  /** Settings that matter to DDL (search_path, role, …). */
  readonly settings: {
    readonly user: string
    readonly gucs: readonly (readonly [string, string])[]
  }
}

export interface FieldDescription {
  readonly name: string
  readonly tableOid: number
  readonly attnum: number
  readonly typeOid: number
  readonly typeSize: number
  readonly typmod: number
}

export interface Description {
  readonly parameterTypes: readonly number[]
  /** Empty for statements that return no rows. */
  readonly fields: readonly FieldDescription[]
}

/** EXPLAIN (VERBOSE, FORMAT JSON, COSTS OFF), parameters as $n: the node tree as PostgreSQL prints it. */
export interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly Schema?: string
  readonly Alias?: string
  readonly Output?: readonly string[]
  readonly Filter?: string
  readonly 'Sort Key'?: readonly string[]
  readonly Plans?: readonly PlanNode[]
  readonly [key: string]: unknown
}

export interface SequenceInfo {
  readonly oid: number
  readonly schemaName: string
  readonly name: string
  readonly start: bigint
  readonly increment: bigint
  readonly min: bigint
  readonly max: bigint
  readonly cycle: boolean
}

/** One user relation that holds rows (ordinary table or partition), or a partitioned parent. */
export interface TableInfo {
  readonly oid: number
  readonly schemaName: string
  readonly name: string
  readonly kind: 'table' | 'partitioned'
  /** OIDs of leaf partitions when partitioned; else empty. */
  readonly partitions: readonly number[]
  readonly parentOid: number
  readonly columns: readonly TableColumn[]
  readonly keys: readonly KeyConstraint[]
  /** Unique indexes that storage cannot judge: partial ones, and those over expressions. */
  readonly conditionalKeys: readonly ConditionalKey[]
  readonly vectorIndexes: readonly VectorIndexSchema[]
  readonly foreignKeys: readonly ForeignKeyInfo[]
  /** Foreign keys of other tables that refer to this one. */
  readonly referencedBy: readonly { readonly tableOid: number; readonly constraintOid: number }[]
  readonly hasTriggers: boolean
  readonly hasRowSecurity: boolean
  readonly hasCheckConstraints: boolean
  /** Options PostgreSQL does not know, kept by us: shards, replicas, ttl, … */
  readonly options: ReadonlyMap<string, string>
  readonly ownerName: string
  /** pg_class.relfilenode: another number after DDL means that PostgreSQL would have rewritten the rows. */
  readonly fileNumber?: number
}

export interface TableColumn extends ColumnSchema {
  /** Text of the DEFAULT expression as PostgreSQL deparses it, or null. */
  readonly defaultExpression: string | null
  /** '' none, 's' stored, 'v' virtual. */
  readonly generated: '' | 's' | 'v'
  /** '' none, 'a' always, 'd' by default. */
  readonly identity: '' | 'a' | 'd'
  /** Sequence behind serial or identity, 0 if none. */
  readonly sequenceOid: number
}

export interface ConditionalKey {
  readonly indexOid: number
  readonly name: string
  /** 0: an expression. */
  readonly attnums: readonly number[]
  /** As PostgreSQL deparses them; columns too. */
  readonly expressions: readonly string[]
  /** Of a partial index. */
  readonly condition: string | null
  readonly nullsNotDistinct: boolean
}

export interface ForeignKeyInfo {
  readonly constraintOid: number
  /** MATCH FULL: some of the columns NULL and others not is a violation; otherwise it refers to nothing. */
  readonly matchFull: boolean
  /** INITIALLY DEFERRED: rows may refer to what comes later in the transaction. */
  readonly deferred: boolean
  readonly name: string
  readonly attnums: readonly number[]
  readonly referencedTableOid: number
  readonly referencedAttnums: readonly number[]
}

/** What the catalog holds at one version: frozen, shared by all sessions. */
export interface CatalogSnapshot {
  /** Number of DDL entries applied. */
  readonly version: number
  readonly tables: ReadonlyMap<number, TableInfo>
  /** By 'schema.name'. */
  readonly tablesByName: ReadonlyMap<string, TableInfo>
  readonly sequences: ReadonlyMap<number, SequenceInfo>
  /** pg_type of user-visible types by OID: name, for the value codecs. */
  readonly typeNames: ReadonlyMap<number, string>
  /**
   * Functions, aggregates and procedures that are not built in, not of an extension and not IMMUTABLE, by name: their bodies may look at
   * tables unseen by EXPLAIN, and unless they are STABLE change them. Of several with one name the worst.
   */
  readonly userFunctions: ReadonlyMap<string, 'stable' | 'volatile'>
  readonly roles: ReadonlyMap<string, RoleInfo>
}

export interface RoleInfo {
  readonly oid: number
  readonly name: string
  readonly superuser: boolean
  readonly canLogin: boolean
}

/** Rows to put into a table of the evaluator before the statement runs. */
export interface TableLoad {
  readonly tableOid: number
  /** Columns that the tuples hold; the others are loaded as NULL (pruned). */
  readonly attnums: readonly number[]
  /** COPY BINARY tuples: no file header, no trailer. Position of a tuple = its index in the removed list. */
  readonly tuples: Uint8Array
  readonly rowCount: number
  /** Every row, with every column; otherwise those that the statement itself can reach. */
  readonly isWhole?: boolean
}

export interface SequenceState {
  readonly oid: number
  readonly lastValue: bigint
  readonly isCalled: boolean
}

export interface Evaluation {
  readonly statement: BoundStatement
  readonly settings: SessionSettings
  /** DDL of the session's open transaction, replayed (and rolled back) around the run. */
  readonly pendingDdl: readonly DdlEntry[]
  readonly loads: readonly TableLoad[]
  /** Ours, run by the superuser when the rows are loaded. */
  readonly afterLoads?: string | undefined
  /** Set before the run, read back after it. */
  readonly sequences: readonly SequenceState[]
  /** nextval results of the session, for currval/lastval; last in the list = lastval. */
  readonly sessionSequences: readonly SequenceState[]
  /** now() of the session's transaction in Unix milliseconds, or undefined: the run's own. */
  readonly transactionStartMs?: number | undefined
  /** Whether changes of rows are captured; tables (and, by triggers and cascades, others) that may change. */
  readonly captureTables: readonly number[]
  /** SELECT … FOR UPDATE and its weaker forms: which loaded rows of the captured tables it locked. */
  readonly reportLocks?: boolean | undefined
  /**
   * 'off': referential triggers do not fire (the proxy checks references itself); 'on': they do, over the loaded rows
   * (ON DELETE CASCADE and the like). Absent: 'off'.
   */
  readonly foreignKeys?: 'on' | 'off' | undefined
  /** COPY table FROM STDIN given as the statement: the data (text, csv, binary) in one piece. */
  readonly copyData?: Uint8Array | undefined
}

export interface TableChange {
  readonly tableOid: number
  /** Indexes into the load's tuples of rows that no longer exist as they were (updated or deleted). */
  readonly removed: Uint32Array
  /** New row versions: COPY BINARY tuples of all live columns in attnum order, generated columns included. */
  readonly inserted: Uint8Array
  readonly insertedCount: number
}

export interface LockedRows {
  readonly tableOid: number
  /** Indexes into the load's tuples, ascending. */
  readonly positions: Uint32Array
}

export interface EvaluationResult {
  /** 'T' message as PostgreSQL sent it for the portal, or undefined. */
  readonly rowDescription?: Uint8Array | undefined
  /** Whole DataRow messages ('D' …) one after the other. COPY TO: whole CopyData messages. */
  readonly dataRows: Uint8Array
  readonly rowCount: number
  readonly commandTag: string
  /** Whole NoticeResponse messages. */
  readonly notices: readonly Uint8Array[]
  readonly changes: readonly TableChange[]
  readonly locked?: readonly LockedRows[] | undefined
  readonly sequences: readonly SequenceState[]
  /** Relations that the executor touched although they were not in `loads`, or not whole where it needs them so: load them and run again. */
  readonly touchedUnloaded: readonly number[]
  /** It failed, perhaps for want of those: what it says besides is nothing. */
  readonly hasFailed?: boolean
  /** Sequences that moved although they were not in `sequences`: give their state and run again. */
  readonly touchedSequences?: readonly number[]
}

export interface DdlResult {
  readonly commandTag: string
  readonly notices: readonly Uint8Array[]
  readonly entry: DdlEntry
}

export interface Postgres {
  /** Current catalog; a new object after every DDL. */
  catalog(): CatalogSnapshot

  /** Parameter and result types. pendingDdl as in Evaluation. @throws DatabaseError as PostgreSQL raised it */
  describe(
    statement: Statement,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): Promise<Description>

  /** The generic plan over empty tables with index scans off. Undefined for utility statements. */
  explain(
    statement: Statement,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): Promise<PlanNode>

  /** Runs a statement that reads no user table (catalog queries, SELECT 1) in the catalog instance; changes roll back. */
  catalogQuery(evaluation: Evaluation, context: Context): Promise<EvaluationResult>

  /** Runs a statement verbatim over loaded rows in an evaluator; everything rolls back. */
  evaluate(evaluation: Evaluation, context: Context): Promise<EvaluationResult>

  /**
   * Runs DDL after `pendingDdl` in a transaction that is rolled back: validates, and gives the entry to log.
   * The catalog as it would be is returned for planning inside the transaction.
   */
  tryDdl(
    sql: string,
    settings: SessionSettings,
    pendingDdl: readonly DdlEntry[],
  ): Promise<{ readonly result: DdlResult; readonly catalog: CatalogSnapshot }>

  /** Applies entries for good, in one transaction: catalog now, evaluators before their next run. */
  applyDdl(entries: readonly DdlEntry[]): Promise<CatalogSnapshot>

  close(): Promise<void>
}

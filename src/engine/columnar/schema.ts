import type { ColumnKind, Datum } from '#engine/columnar/column.js'

/** One stored column. Its identity is the attribute number: names may change, positions in a batch are per schema. */
export interface ColumnSchema {
  /** pg_attribute.attnum: never reused within a table. */
  readonly attnum: number
  readonly name: string
  readonly typeOid: number
  /** pg_type.typname, e.g. 'int8', 'vector'. Types of extensions have an OID of their own in every database. */
  readonly typeName: string
  /** pg_attribute.atttypmod; -1: none. vector: the dimensions. */
  readonly typmod: number
  readonly kind: ColumnKind
  /** vector: dimensions; fixed: bytes; otherwise 0. */
  readonly width: number
  readonly notNull: boolean
  /** What rows written before the column existed hold (pg_attribute.attmissingval). */
  readonly missing: Datum
}

/** PRIMARY KEY or UNIQUE, checked by the streaming node that owns the channel. */
export interface KeyConstraint {
  readonly name: string
  /** pg_constraint.conindid. */
  readonly indexOid: number
  readonly attnums: readonly number[]
  readonly primary: boolean
  readonly nullsNotDistinct: boolean
}

/** hnsw index on one vector column. */
export interface VectorIndexSchema {
  readonly indexOid: number
  readonly name: string
  readonly attnum: number
  readonly metric: Metric
  readonly m: number
  readonly efConstruction: number
}

/** Smaller is nearer, always: 'inner' is the negative inner product, as pgvector's <#>. */
export type Metric = 'l2' | 'inner' | 'cosine' | 'l1'

/** What storage knows of a table: made from the catalog, frozen; a change makes the next version. */
export interface TableSchema {
  /** pg_class.oid. */
  readonly tableId: number
  /** Raised by every rewrite (TRUNCATE, ALTER TYPE): rows of an older incarnation are gone. */
  readonly incarnation: number
  /** Rises with every form that storage is given, also when a form is taken back: an older one that comes late is passed over. */
  readonly version: number
  readonly schemaName: string
  readonly name: string
  readonly columns: readonly ColumnSchema[]
  readonly keys: readonly KeyConstraint[]
  readonly vectorIndexes: readonly VectorIndexSchema[]
  readonly shardCount: number
  /** Query nodes that hold each sealed segment, as far as there are so many; undefined: as many as the cluster's default. */
  readonly replicaCount?: number | undefined
  /** Rows are expired when the column's time (microseconds since 2000-01-01 UTC, int64) lies so far back; NULL never is. */
  readonly timeToLive?: TimeToLive | undefined
}

export interface TimeToLive {
  readonly attnum: number
  readonly milliseconds: number
}

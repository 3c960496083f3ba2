/**
 * Fragments: the pieces of a plan that one node runs over the segments of one channel, and the parts they return.
 * Columns are attribute numbers. Row ids are unique in a table, rise with insertion and never change; they fit a
 * Float64Array. A row's update is a delete and an insert: the new version has a new row id.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'
import type { AggregateSpec, AggregateValue, SearchMode, SortKey } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'

interface FragmentBase {
  readonly tableId: number
  readonly shard: number
  readonly readAt: Timestamp
  readonly filter?: FilterNode | undefined
  /** Only these rows (ascending): the verdict of a filter that only PostgreSQL could judge. */
  readonly allowedRowIds?: Float64Array | undefined
  /** Not these rows (ascending): deleted by the reader's own open transaction. */
  readonly excludedRowIds?: Float64Array | undefined
}

export interface SearchFragment extends FragmentBase {
  readonly attnum: number
  readonly metric: Metric
  readonly query: Float32Array
  readonly k: number
  readonly efSearch: number
  readonly mode: SearchMode
  /** Columns returned for the hits. */
  readonly output: readonly number[]
}

/** What was done in each segment, for EXPLAIN ANALYZE. */
export interface SegmentReport {
  readonly segmentId: number
  /** Of a table with several: set where parts of shards are reduced. */
  readonly shard?: number | undefined
  readonly stage: 'growing' | 'sealed'
  readonly rowCount: number
  /** 'index', 'exact', 'empty'; scans: 'filter', 'key'. */
  readonly strategy: string
  readonly passing: number
  readonly visited: number
}

export interface SearchPart {
  /** Nearest first. */
  readonly distances: Float64Array
  readonly rowIds: Float64Array
  /** Row i belongs to hit i. */
  readonly batch: ColumnBatch
  readonly segments: readonly SegmentReport[]
}

export interface ScanFragment extends FragmentBase {
  /** Columns returned, in this order. May be empty (only row ids). */
  readonly output: readonly number[]
  /** First `limit` rows in this order; each part is ordered, parts of one channel are merged already. */
  readonly orderBy?: readonly SortKey[] | undefined
  readonly limit?: number | undefined
  /** Look up by a unique key instead of scanning: one Datum per key column (in the key's order). filter still applies. */
  readonly keys?:
    | { readonly indexOid: number; readonly values: readonly (readonly Datum[])[] }
    | undefined
}

export interface ScanPart {
  readonly rowIds: Float64Array
  readonly batch: ColumnBatch
}

export interface ScanSummary {
  readonly segments: readonly SegmentReport[]
}

export interface AggregateFragment extends FragmentBase {
  readonly aggregates: readonly AggregateSpec[]
}

export interface AggregatePart {
  readonly values: readonly AggregateValue[]
  readonly segments: readonly SegmentReport[]
}

/** What the planner makes of a SELECT: how its rows are found, and who makes the result of them. */

import type { Metric } from '#engine/columnar/schema.js'
import type { AggregateSpec, SortKey } from '#engine/index/native.js'
import type { FilterBuilder } from '#nodes/proxy/plan/filter-compile.js'
import type { Slot } from '#nodes/proxy/plan/slots.js'
import type { Description, PlanNode, TableColumn, TableInfo } from '#postgres/contract.js'

/** One scanned table (or leaf partition). */
export interface ScanPlan {
  readonly table: TableInfo
  /** Columns the statement can read. */
  readonly attnums: readonly number[]
  /** What segments can judge; undefined: every row. */
  readonly filter: FilterBuilder | undefined
  /** True: `filter` is the whole condition. False: PostgreSQL must still judge the rows. */
  readonly filterComplete: boolean
  /** The whole condition as `SELECT (condition) IS TRUE FROM …`, when PostgreSQL can judge rows one by one. */
  readonly residual: ResidualFilter | undefined
  /** Equality on all columns of a unique key: slot per key column, or one array slot for a key of one column. */
  readonly key: KeyLookup | undefined
}

export interface ResidualFilter {
  readonly sql: string
  readonly attnums: readonly number[]
}

export interface KeyLookup {
  readonly indexOid: number
  readonly slots: readonly number[]
  readonly columns: readonly TableColumn[]
  readonly array: boolean
}

/** LIMIT and OFFSET: slot numbers of int8 values, undefined where absent. */
export interface LimitPlan {
  readonly limit: number | undefined
  readonly offset: number | undefined
}

/** An output column that needs no PostgreSQL: a stored column or the distance. */
export type OutputColumn =
  | { readonly kind: 'column'; readonly column: TableColumn }
  | { readonly kind: 'distance' }

export interface SearchPlan {
  readonly kind: 'search'
  readonly scans: readonly ScanPlan[]
  readonly attnum: number
  readonly metric: Metric
  readonly querySlot: number
  readonly limit: LimitPlan
  /** ORDER BY has more keys after the distance, or a rounding around it: fetch all rows tied with the k-th. */
  readonly ties: boolean
  /** Undefined: the statement runs verbatim over the winners. */
  readonly output: readonly OutputColumn[] | undefined
  /** ORDER BY puts rows without a distance first (similarity DESC without NULLS LAST). */
  readonly nullsFirst: boolean
  /** ORDER BY falls with the similarity: rows whose distance is NaN come before all others, not after them. */
  readonly nansFirst: boolean
  /** An index with the operator class of the metric exists on the column. */
  readonly hasIndex: boolean
}

export interface FilteredScanPlan {
  readonly kind: 'scan'
  readonly scan: ScanPlan
  readonly orderBy: readonly SortKey[]
  readonly limit: LimitPlan
  readonly output: readonly OutputColumn[] | undefined
}

export interface AggregatePlan {
  readonly kind: 'aggregate'
  readonly scans: readonly ScanPlan[]
  readonly aggregates: readonly AggregateSpec[]
}

/** The statement runs verbatim over the rows that its scans can reach. */
export interface VerbatimPlan {
  readonly kind: 'verbatim'
  readonly scans: readonly ScanPlan[]
  /** Parts of the plan that want the nearest rows only (a leg of a hybrid search, a CTE): their tables are not in `scans`. */
  readonly searches: readonly SearchPlan[]
  /** Every LIMIT of the statement: a search fetches as many rows as the largest asks for. */
  readonly limits: readonly LimitPlan[]
  /** UPDATE or DELETE that may run over a part of the rows at a time. */
  readonly isRowByRow?: boolean
  /** It calls functions of users that may change any table: SELECT, too, runs as a statement that changes rows. */
  readonly mayChange?: boolean
}

/** Reads no user table: the catalog instance answers. */
export interface CatalogPlan {
  readonly kind: 'catalog'
}

/** A sub-select whose value does not depend on the rows: run first, its value becomes a parameter of the rest. */
export interface HoistedPlan {
  readonly kind: 'hoisted'
  readonly subqueries: readonly { readonly sql: string; readonly typeOid: number }[]
  readonly sql: string
  readonly parameterTypes: readonly number[]
}

export type QueryPlan =
  | SearchPlan
  | FilteredScanPlan
  | AggregatePlan
  | VerbatimPlan
  | CatalogPlan
  | HoistedPlan

/** A plan together with what executing needs besides. Frozen; cached per statement text, settings and catalog version. */
export interface PreparedPlan {
  readonly plan: QueryPlan
  readonly slots: readonly Slot[]
  readonly description: Description
  readonly explained: PlanNode
}

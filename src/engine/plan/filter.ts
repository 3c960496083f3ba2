/**
 * A filter that segments can evaluate themselves: three-valued, like SQL's WHERE. A row passes when the result is true.
 * Columns are attribute numbers. Made by the planner from the expressions that PostgreSQL deparses; encoded for the
 * native filter machine by filter-program.ts; judged by the plain twin in filter-evaluate.ts.
 */
import type { Metric } from '#engine/columnar/schema.js'

export type Comparison = '=' | '<>' | '<' | '<=' | '>' | '>='

/**
 * How two values of a column are ordered: by their column kind for fixed-width kinds (floats in PostgreSQL's order:
 * NaN equals NaN and is greater than everything, -0 = 0), 'bytes' by memcmp then length (text under collation C,
 * uuid, bytea), 'numeric' by the value of PostgreSQL's binary numeric (NaN and infinities included).
 */
export type CompareAs = 'native' | 'bytes' | 'numeric'

/** A constant in the form of its column: number (bool as 0/1, int16, int32, floats), bigint (int64), bytes. */
export type FilterValue = number | bigint | Uint8Array

export type FilterNode =
  | { readonly op: 'and'; readonly args: readonly FilterNode[] }
  | { readonly op: 'or'; readonly args: readonly FilterNode[] }
  | { readonly op: 'not'; readonly arg: FilterNode }
  | { readonly op: 'constant'; readonly value: boolean | null }
  | { readonly op: 'isNull'; readonly attnum: number }
  /** Column itself is boolean. */
  | { readonly op: 'boolean'; readonly attnum: number }
  | {
      readonly op: 'compare'
      readonly attnum: number
      readonly comparison: Comparison
      readonly as: CompareAs
      readonly value: FilterValue
    }
  /** True if equal to one of values; else NULL if hasNull; else false. */
  | {
      readonly op: 'in'
      readonly attnum: number
      readonly as: CompareAs
      readonly values: readonly FilterValue[]
      readonly hasNull: boolean
    }
  /** SQL LIKE on text bytes (UTF-8): % and _ with backslash escape; caseInsensitive is not native. */
  | { readonly op: 'like'; readonly attnum: number; readonly pattern: Uint8Array }
  | {
      readonly op: 'compareColumns'
      readonly attnum: number
      readonly comparison: Comparison
      readonly as: CompareAs
      readonly otherAttnum: number
    }
  /** distance(column, query) comparison radius; NULL vector gives NULL. */
  | {
      readonly op: 'distance'
      readonly attnum: number
      readonly metric: Metric
      readonly query: Float32Array
      readonly comparison: Comparison
      readonly radius: number
    }

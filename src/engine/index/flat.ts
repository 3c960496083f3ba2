/** Exact search in plain TypeScript: the oracle that judges the native search, and pgvector's distances in words. */
import type { VectorColumn } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'

/**
 * What pgvector's operator returns: float32 accumulation in element order, each operation rounded (pgvector 0.8,
 * src/vector.c without contraction), then double. `query` against `values[offset .. offset + query.length]`.
 */
export function pgDistance(
  metric: Metric,
  query: Float32Array,
  values: Float32Array,
  offset = 0,
): number {
  const f = Math.fround
  let sum = 0
  let queryNorm = 0
  let norm = 0
  for (let i = 0; i < query.length; i++) {
    const q = query[i] ?? 0
    const x = values[offset + i] ?? 0
    switch (metric) {
      case 'l2': {
        const diff = f(q - x)
        sum = f(sum + f(diff * diff))
        break
      }
      case 'l1':
        sum = f(sum + Math.abs(f(q - x)))
        break
      case 'inner':
        sum = f(sum + f(q * x))
        break
      case 'cosine':
        sum = f(sum + f(q * x))
        queryNorm = f(queryNorm + f(q * q))
        norm = f(norm + f(x * x))
        break
    }
  }
  switch (metric) {
    case 'l2':
      return Math.sqrt(sum)
    case 'l1':
      return sum
    case 'inner':
      return sum * -1
    case 'cosine': {
      const similarity = sum / Math.sqrt(queryNorm * norm)
      return 1 - Math.max(-1, Math.min(1, similarity))
    }
  }
}

export interface FlatPart {
  readonly column: VectorColumn
  readonly rowCount: number
  /** Whether a row may be returned. */
  readonly passes?: ((row: number) => boolean) | undefined
}

export interface FlatResult {
  readonly count: number
  readonly segments: Uint32Array
  readonly ordinals: Uint32Array
  readonly distances: Float64Array
}

/** The k nearest rows of all parts; NULL and NaN are no hits; ties in (part, row) order. */
export function searchFlat(
  parts: readonly FlatPart[],
  metric: Metric,
  query: Float32Array,
  k: number,
): FlatResult {
  const hits: { readonly segment: number; readonly ordinal: number; readonly distance: number }[] =
    []
  parts.forEach(({ column, rowCount, passes }, segment) => {
    for (let ordinal = 0; ordinal < rowCount; ordinal++) {
      const valid =
        column.validity === undefined ||
        (((column.validity[ordinal >> 3] ?? 0) >> (ordinal & 7)) & 1) === 1
      if (!valid || (passes !== undefined && !passes(ordinal))) continue
      const distance = pgDistance(metric, query, column.values, ordinal * column.dimensions)
      if (!Number.isNaN(distance)) hits.push({ segment, ordinal, distance })
    }
  })
  hits.sort(
    (a, b) =>
      (a.distance === b.distance ? 0 : a.distance - b.distance) ||
      a.segment - b.segment ||
      a.ordinal - b.ordinal,
  )
  const top = hits.slice(0, k)
  return {
    count: top.length,
    segments: Uint32Array.from(top, (hit) => hit.segment),
    ordinals: Uint32Array.from(top, (hit) => hit.ordinal),
    distances: Float64Array.from(top, (hit) => hit.distance),
  }
}

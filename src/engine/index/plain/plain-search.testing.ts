/** native/search.cc in words: per segment exact, or by what the index remembers; distances always from the column. */
import type { VectorColumn } from '#engine/columnar/column.js'
import { pgDistance } from '#engine/index/flat.js'
import type { SearchRequest, SearchResult, SegmentStrategy } from '#engine/index/native.js'
import { isValid } from '#engine/plan/filter-evaluate.js'
import { checkDimensions, findColumn } from './check-filter.testing.js'
import { nativeError } from './native-error.testing.js'
import { type PlainPart, passingRows, readRequest } from './plain-request.testing.js'

interface Hit {
  readonly segment: number
  readonly ordinal: number
  readonly distance: number
}

interface PartOutcome {
  readonly hits: readonly Hit[]
  readonly strategy: SegmentStrategy
  readonly passing: number
  readonly visited: number
}

export function searchPlain(parts: readonly PlainPart[], request: SearchRequest): SearchResult {
  const read = readRequest(parts, request)
  const outcomes = parts.map((part, segment) =>
    searchPart(part, segment, request, () => passingRows(part, read)),
  )
  const hits = outcomes
    .flatMap((outcome) => outcome.hits)
    .sort(byDistance)
    .slice(0, request.k)
  return {
    count: hits.length,
    segments: Uint32Array.from(hits, (hit) => hit.segment),
    ordinals: Uint32Array.from(hits, (hit) => hit.ordinal),
    distances: Float64Array.from(hits, (hit) => hit.distance),
    strategies: outcomes.map(({ strategy }) => strategy),
    passing: Uint32Array.from(outcomes, ({ passing }) => passing),
    visited: Uint32Array.from(outcomes, ({ visited }) => visited),
  }
}

function searchPart(
  part: PlainPart,
  segment: number,
  request: SearchRequest,
  passing: () => readonly number[],
): PartOutcome {
  if (part.rowCount === 0) return { hits: [], strategy: 'empty', passing: 0, visited: 0 }
  const column = vectorColumn(part, request)
  const rows = passing()
  if (rows.length === 0 || request.k === 0) {
    return { hits: [], strategy: 'empty', passing: rows.length, visited: 0 }
  }
  const index = request.mode === 'exact' ? undefined : indexFor(part, request)
  const interim = request.mode === 'exact' ? undefined : interimFor(part, request)
  const covered = Math.min(interim?.built.rowCount ?? 0, part.rowCount)
  const first = rows.filter((row) => row < covered)
  const candidates = index?.nearest(request.query, rows, request.k) ?? [
    ...(interim?.nearest(request.query, first, request.k) ?? []),
    ...rows.filter((row) => row >= covered && isValid(column, row)),
  ]
  const hits = candidates.flatMap((ordinal): Hit[] => {
    const distance = pgDistance(
      request.metric,
      request.query,
      column.values,
      ordinal * column.dimensions,
    )
    return Number.isNaN(distance) ? [] : [{ segment, ordinal, distance }]
  })
  return {
    hits,
    strategy: index === undefined && interim === undefined ? 'exact' : 'index',
    passing: rows.length,
    visited: candidates.length,
  }
}

function vectorColumn(part: PlainPart, { attnum, query }: SearchRequest): VectorColumn {
  const column = findColumn(part.segment.columns, attnum, part.rowCount)
  if (column.kind !== 'vector') throw nativeError('XX000', 'column is not a vector')
  checkDimensions(column.dimensions, query)
  return column
}

/** An index over other rows than are asked for is of no use. */
function indexFor({ segment, rowCount }: PlainPart, { attnum, metric, query }: SearchRequest) {
  const slot = segment.indexes.find(
    (candidate) => candidate.attnum === attnum && candidate.index.built.metric === metric,
  )
  const fits =
    slot?.index.built.rowCount === rowCount && slot.index.built.column.dimensions === query.length
  return fits ? slot.index : undefined
}

/** What a growing segment's graph has taken in. */
function interimFor({ segment }: PlainPart, { attnum, metric, query }: SearchRequest) {
  const slot = segment.interims.find(
    (candidate) => candidate.attnum === attnum && candidate.index.metric === metric,
  )
  return slot?.index.dimensions === query.length ? slot.index.index : undefined
}

/** By distance, then segment, then ordinal (native/topk.h). */
function byDistance(a: Hit, b: Hit): number {
  if (a.distance !== b.distance) return a.distance < b.distance ? -1 : 1
  return a.segment - b.segment || a.ordinal - b.ordinal
}

/** Rows by unique key, through the segments' hash indexes. */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { widthOf } from '#engine/columnar/column-builder.js'
import type { Hits } from '#engine/exec/gather.js'
import { filterAttnums } from '#engine/exec/native-request.js'
import type { FilterNode } from '#engine/plan/filter.js'
import { type ColumnsByAttnum, evaluateFilter } from '#engine/plan/filter-evaluate.js'
import type { ScanFragment } from '#engine/plan/fragment.js'
import { type KeyIndex, keyColumns } from '#engine/segment/key-index.js'
import { lowerBound } from '#engine/segment/lower-bound.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/**
 * Rows with one of the fragment's keys that are visible at readAt, allowed and not excluded; in row id order. The
 * fragment's filter is not applied.
 * @throws 42704 when the index is not known
 */
export async function findKeys(
  segments: readonly ReadableSegment[],
  { keys, readAt, allowedRowIds, excludedRowIds }: ScanFragment,
): Promise<Hits> {
  const found: Found[] = []
  let probe: readonly Column[] | undefined
  for (let position = 0; position < segments.length && keys !== undefined; position += 1) {
    const segment = segments[position]
    if (segment === undefined || segment.rowCount === 0) continue
    const index = await keyIndexOf(segment, keys.indexOid)
    const columns = index.attnums.map((attnum) => segment.column(attnum))
    probe ??= keyColumns(
      columns.map((column) => ({ kind: column.kind, width: widthOf(column) })),
      keys.values,
    )
    for (let key = 0; key < keys.values.length; key += 1) {
      for (let row = index.find(columns, probe, key); row >= 0; row = index.older(row)) {
        if (row >= segment.rowCount || !isVisible(segment, row, readAt)) continue
        const rowId = segment.rowIds[row] ?? 0
        if (excludedRowIds !== undefined && contains(excludedRowIds, rowId)) continue
        if (allowedRowIds !== undefined && !contains(allowedRowIds, rowId)) continue
        found.push({ rowId, position, row })
      }
    }
  }
  return hitsOf(found)
}

interface Found {
  readonly rowId: number
  readonly position: number
  readonly row: number
}

/** In row id order; a key that was asked for twice counts once. */
function hitsOf(found: readonly Found[]): Hits {
  const rows = found
    .toSorted((a, b) => a.rowId - b.rowId)
    .filter(({ rowId }, i, sorted) => i === 0 || sorted[i - 1]?.rowId !== rowId)
  return {
    count: rows.length,
    segments: Uint32Array.from(rows, ({ position }) => position),
    ordinals: Uint32Array.from(rows, ({ row }) => row),
  }
}

async function keyIndexOf(segment: ReadableSegment, indexOid: number): Promise<KeyIndex> {
  const building = segment.keyIndex(indexOid)
  const index = building instanceof Promise ? await building : building
  if (index === undefined) {
    throw new DatabaseError(
      SqlState.undefinedObject,
      `could not open relation with OID ${indexOid}`,
    )
  }
  invariant('KEY-2', index.rowCount >= segment.rowCount, 'key index is behind its segment')
  return index
}

/** The hits that pass the filter, judged row by row. */
export function judgeHits(
  segments: readonly ReadableSegment[],
  hits: Hits,
  filter: FilterNode,
): Hits {
  const attnums = [...new Set(filterAttnums(filter))]
  const columns = new Map<number, ColumnsByAttnum>()
  const passes = (hit: number): boolean => {
    const position = hits.segments[hit] ?? 0
    const segment = segments[position]
    invariant('EXEC-1', segment !== undefined, 'hit in no segment')
    let byAttnum = columns.get(position)
    if (byAttnum === undefined) {
      byAttnum = new Map(attnums.map((attnum) => [attnum, segment.column(attnum)]))
      columns.set(position, byAttnum)
    }
    return evaluateFilter(filter, byAttnum, hits.ordinals[hit] ?? 0) === true
  }
  const kept = Uint32Array.from({ length: hits.count }, (_, hit) => hit).filter(passes)
  return {
    count: kept.length,
    segments: kept.map((hit) => hits.segments[hit] ?? 0),
    ordinals: kept.map((hit) => hits.ordinals[hit] ?? 0),
  }
}

/** Rows with inserted <= readAt < deleted. */
export function isVisible(segment: ReadableSegment, row: number, readAt: number): boolean {
  return (
    (segment.inserted[row] ?? Number.POSITIVE_INFINITY) <= readAt &&
    readAt < (segment.deleted[row] ?? 0)
  )
}

function contains(ascending: Float64Array, value: number): boolean {
  return ascending[lowerBound(ascending, value)] === value
}

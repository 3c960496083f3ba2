/** Which flushed segments of a channel are merged. Pure. */
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import type { SealedEntry, View } from '#nodes/streaming/view.js'

/** A merged segment is at most so many times as large as one that was sealed for its size. */
const mergedSizeFactor = 4

/**
 * A merge makes of each of its inputs something at least so many times as large: so a row is written again at most
 * log(smallSegmentBytes / smallest) / log(this) times, and a large segment is not rewritten for the sake of a few rows.
 */
const growthMin = 4

/**
 * Groups of neighbours by row id. A growing segment between two (its COPY is open) keeps them apart: a sealed segment's
 * range of row ids must cover nothing that is not in it.
 * @param mode 'all': VACUUM FULL, also segments alone that have deleted rows; 'background': many small ones, and those with
 * many rows that nobody sees any more; 'worthwhile': VACUUM, which takes fewer of these for many
 * @param horizon no read looks at or before
 */
export function groupsToCompact(
  view: View,
  schema: TableSchema,
  limits: StreamingLimits,
  mode: 'all' | 'background' | 'worthwhile',
  horizon: Timestamp,
): readonly (readonly SealedEntry[])[] {
  const eligible = view.sealed.filter(
    (entry) => !isTruncated(entry) && entry.manifest.incarnation === schema.incarnation,
  )
  const bytesMax = limits.segmentBytesMax * mergedSizeFactor
  const groups = neighbours(view, eligible, bytesMax, (entry) =>
    mode === 'all' ? true : entry.manifest.data.bytes <= limits.smallSegmentBytes,
  )
  if (mode === 'all') {
    return groups.filter(
      (group) => group.length > 1 || group.some(({ deletes }) => deletes.countUntil(horizon) > 0),
    )
  }
  const merged = groups
    .filter((group) => group.length > limits.smallSegmentCountMax)
    .map(worthMerging)
    .filter((run) => run.length > 1)
  if (merged.length > 0) return merged
  const part = mode === 'background' ? limits.deletedPartMax : limits.vacuumDeletedPartMin
  // Rows deleted within the retention would only be copied, again and again.
  return eligible
    .filter(({ deletes, manifest: { rowCount } }) => {
      const least = rowCount * part
      return deletes.count > least && deletes.countUntil(horizon) > least
    })
    .map((entry) => [entry])
}

/** The longest run of neighbours whose merge is growthMin times as large as the largest of them. */
function worthMerging(group: readonly SealedEntry[]): readonly SealedEntry[] {
  let best: readonly SealedEntry[] = []
  for (let from = 0; from < group.length; from += 1) {
    let sum = 0
    let largest = 0
    for (let to = from; to < group.length; to += 1) {
      const bytes = group[to]?.manifest.data.bytes ?? 0
      sum += bytes
      largest = Math.max(largest, bytes)
      const isWorth = sum >= growthMin * largest
      if (isWorth && to - from + 1 > best.length) best = group.slice(from, to + 1)
    }
  }
  return best
}

function neighbours(
  view: View,
  entries: readonly SealedEntry[],
  bytesMax: number,
  wanted: (entry: SealedEntry) => boolean,
): SealedEntry[][] {
  const groups: SealedEntry[][] = []
  let group: SealedEntry[] = []
  let bytes = 0
  for (const entry of entries) {
    const before = group.at(-1)
    const apart = before !== undefined && isApart(view, before, entry)
    if (!wanted(entry) || apart || bytes + entry.manifest.data.bytes > bytesMax) {
      if (group.length > 0) groups.push(group)
      group = []
      bytes = 0
    }
    if (!wanted(entry)) continue
    group.push(entry)
    bytes += entry.manifest.data.bytes
  }
  if (group.length > 0) groups.push(group)
  return groups
}

/** Something else lies between the two. */
function isApart(view: View, before: SealedEntry, after: SealedEntry): boolean {
  const from = before.manifest.maxRowId
  const to = after.manifest.minRowId
  return (
    view.growing.some(({ firstRowId }) => firstRowId > from && firstRowId < to) ||
    view.sealed.some(({ manifest }) => manifest.minRowId > from && manifest.minRowId < to)
  )
}

/** Which flushed segments of a channel are merged. Pure. */
import type { TableSchema } from '#engine/columnar/schema.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import type { SealedEntry, View } from '#nodes/streaming/view.js'

/** A merged segment is at most so many times as large as one that was sealed for its size. */
const mergedSizeFactor = 4

/**
 * Groups of neighbours by row id. A growing segment between two (its COPY is open) keeps them apart: a sealed segment's
 * range of row ids must cover nothing that is not in it.
 * @param mode 'all': VACUUM FULL, also segments alone that have deleted rows; 'background': many small ones, and those with
 * many deleted rows
 */
export function groupsToCompact(
  view: View,
  schema: TableSchema,
  limits: StreamingLimits,
  mode: 'all' | 'background',
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
      (group) => group.length > 1 || group.some(({ deletes }) => deletes.count > 0),
    )
  }
  const merged = groups.filter((group) => group.length > limits.smallSegmentCountMax)
  if (merged.length > 0) return merged
  return eligible
    .filter(({ deletes, manifest }) => deletes.count > manifest.rowCount * limits.deletedPartMax)
    .map((entry) => [entry])
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

/** One scan cut into several, over segments of one channel in different places, and put together again. */
import { mergeScan } from '#engine/exec/merge-scan.js'
import type { ScanFragment, ScanPart, ScanSummary } from '#engine/plan/fragment.js'

type Scan = AsyncGenerator<ScanPart, ScanSummary>

/** @param begin the scans, each with the fragment that it is given: it may have columns more */
export function mergeScans(
  fragment: ScanFragment,
  begin: (wide: ScanFragment) => readonly Scan[],
): Scan {
  const wide = withSortColumns(fragment)
  const merged = mergeScan(begin(wide), wide)
  return wide === fragment ? merged : narrow(merged, fragment.output.length)
}

/** Merging needs the sort keys: behind the columns that were asked for. */
function withSortColumns(fragment: ScanFragment): ScanFragment {
  const { orderBy = [], output } = fragment
  const added = new Set(orderBy.map(({ attnum }) => attnum).filter((key) => !output.includes(key)))
  return added.size === 0 ? fragment : { ...fragment, output: [...output, ...added] }
}

async function* narrow(
  parts: AsyncGenerator<ScanPart, ScanSummary>,
  columnCount: number,
): AsyncGenerator<ScanPart, ScanSummary> {
  try {
    for (;;) {
      const next = await parts.next()
      if (next.done) return next.value
      const { rowIds, batch } = next.value
      yield {
        rowIds,
        batch: { rowCount: batch.rowCount, columns: batch.columns.slice(0, columnCount) },
      }
    }
  } finally {
    await parts.return({ segments: [] })
  }
}

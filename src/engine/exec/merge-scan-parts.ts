/** One scan cut into several, over segments of one channel in different places, and put together again. */
import { mergeScan } from '#engine/exec/merge-scan.js'
import { narrow, withSortColumns } from '#engine/exec/sort-columns.js'
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

/** Merging ordered scans needs their sort keys: they come behind the columns that were asked for, and go after merging. */
import type { ScanFragment, ScanPart, ScanSummary } from '#engine/plan/fragment.js'

/** The fragment itself when all its sort keys are put out anyway. */
export function withSortColumns(fragment: ScanFragment): ScanFragment {
  const { orderBy = [], output } = fragment
  const added = new Set(orderBy.map(({ attnum }) => attnum).filter((key) => !output.includes(key)))
  return added.size === 0 ? fragment : { ...fragment, output: [...output, ...added] }
}

/** The first columns of each part. */
export async function* narrow(
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

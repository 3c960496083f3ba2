import type { Context } from '#base/context.js'
import { mergeScans } from '#engine/exec/merge-scan-parts.js'
import { scanSegments } from '#engine/exec/scan.js'
import type { ScanFragment, ScanPart, ScanSummary } from '#engine/plan/fragment.js'
import { beginRead, endRead, waitUntilReadable } from '#nodes/streaming/read-view.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/** Rows of a channel at a timestamp: sealed segments first, they are older. */
export async function* scan(
  state: StreamingState,
  fragment: ScanFragment,
  context: Context,
): AsyncGenerator<ScanPart, ScanSummary> {
  const wait = waitUntilReadable(state, fragment.readAt, context)
  if (wait !== undefined) await wait
  const read = beginRead(state, fragment)
  const { growing, sealedIds } = read
  try {
    if (growing.length === 0) return yield* state.queryNode.scan(sealedIds, fragment, context)
    if (sealedIds.length === 0) {
      return yield* scanSegments(state.native, growing, fragment, context)
    }
    return yield* mergeScans(fragment, (wide) => [
      state.queryNode.scan(sealedIds, wide, context),
      scanSegments(state.native, growing, wide, context),
    ])
  } finally {
    endRead(read)
  }
}

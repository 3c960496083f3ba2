import type { Context } from '#base/context.js'
import { reduceSearch } from '#engine/exec/merge-search.js'
import { searchSegments } from '#engine/exec/search.js'
import type { SearchFragment, SearchPart } from '#engine/plan/fragment.js'
import { beginRead, endRead, waitUntilReadable } from '#nodes/streaming/read-view.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/** The k nearest of a channel at a timestamp: growing segments here, sealed ones on query nodes, reduced. */
export async function search(
  state: StreamingState,
  fragment: SearchFragment,
  context: Context,
): Promise<SearchPart> {
  const wait = waitUntilReadable(state, fragment.readAt, context)
  if (wait !== undefined) await wait
  const read = beginRead(state, fragment)
  const { growing, sealedIds } = read
  try {
    // The usual case apart: everything is sealed.
    if (growing.length === 0) return await state.queryNode.search(sealedIds, fragment, context)
    if (sealedIds.length === 0) {
      return await searchSegments(state.native, growing, fragment, context)
    }
    const parts = await Promise.all([
      state.queryNode.search(sealedIds, fragment, context),
      searchSegments(state.native, growing, fragment, context),
    ])
    return reduceSearch(parts, fragment.k)
  } finally {
    endRead(read)
  }
}

/** Nearest neighbours over segments: one native call, then the output columns of the winners. */
import { type Context, checkCancelled } from '#base/context.js'
import { gatherHits, gatherRowIds } from '#engine/exec/gather.js'
import { prepareFragment, report } from '#engine/exec/native-request.js'
import type { Native } from '#engine/index/native.js'
import type { SearchFragment, SearchPart } from '#engine/plan/fragment.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/**
 * @returns at most k hits, nearest first, ties in row id order (as far as segments do not interleave)
 */
export async function searchSegments(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: SearchFragment,
  context: Context,
): Promise<SearchPart> {
  checkCancelled(context)
  const prepared = prepareFragment(segments, fragment, [fragment.attnum])
  const { attnum, metric, query, k, efSearch, mode, output } = fragment
  if (prepared.segments.length === 0 || k === 0) return emptySearchPart(segments, fragment)
  const result = await native.search({
    ...prepared.request,
    attnum,
    metric,
    query,
    k,
    efSearch,
    mode,
  })
  checkCancelled(context)
  const reports = prepared.segments.map((segment, i) =>
    report(
      segment,
      result.strategies[i] ?? 'empty',
      result.passing[i] ?? 0,
      result.visited[i] ?? 0,
    ),
  )
  return {
    distances: result.distances.subarray(0, result.count),
    rowIds: gatherRowIds(prepared.segments, result),
    batch: gatherHits(prepared.segments, result, output),
    segments: [...reports, ...prepared.skipped],
  }
}

function emptySearchPart(
  segments: readonly ReadableSegment[],
  { output }: SearchFragment,
): SearchPart {
  const none = { count: 0, segments: new Uint32Array(0), ordinals: new Uint32Array(0) }
  return {
    distances: new Float64Array(0),
    rowIds: new Float64Array(0),
    batch: gatherHits(segments, none, segments.length === 0 ? [] : output),
    segments: segments.map((segment) => report(segment, 'empty', 0, 0)),
  }
}

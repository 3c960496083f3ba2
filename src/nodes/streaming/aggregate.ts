import type { Context } from '#base/context.js'
import { aggregateSegments } from '#engine/exec/aggregate.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import type { AggregateFragment, AggregatePart } from '#engine/plan/fragment.js'
import { beginRead, endRead, waitUntilReadable } from '#nodes/streaming/read-view.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/** Aggregates over the rows of a channel at a timestamp. */
export async function aggregate(
  state: StreamingState,
  fragment: AggregateFragment,
  context: Context,
): Promise<AggregatePart> {
  const wait = waitUntilReadable(state, fragment.readAt, context)
  if (wait !== undefined) await wait
  const read = beginRead(state, fragment)
  const { growing, sealedIds } = read
  try {
    if (growing.length === 0) return await state.queryNode.aggregate(sealedIds, fragment, context)
    if (sealedIds.length === 0) {
      return await aggregateSegments(state.native, growing, fragment, context)
    }
    const parts = await Promise.all([
      state.queryNode.aggregate(sealedIds, fragment, context),
      aggregateSegments(state.native, growing, fragment, context),
    ])
    return {
      values: reduceAggregates(
        parts.map(({ values }) => values),
        fragment.aggregates,
      ),
      segments: parts.flatMap(({ segments }) => segments),
    }
  } finally {
    endRead(read)
  }
}

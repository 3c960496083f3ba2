/** Partial aggregates over segments: one native call. */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { prepareFragment, report } from '#engine/exec/native-request.js'
import type { Native } from '#engine/index/native.js'
import type { AggregateFragment, AggregatePart } from '#engine/plan/fragment.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

export async function aggregateSegments(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: AggregateFragment,
  context: Context,
): Promise<AggregatePart> {
  checkCancelled(context)
  const { aggregates } = fragment
  const attnums = aggregates.flatMap(({ kind, attnum }) => (kind === 'countStar' ? [] : [attnum]))
  const prepared = prepareFragment(segments, fragment, attnums)
  const reports = [
    ...prepared.segments.map((segment) => report(segment, 'filter', 0, segment.rowCount)),
    ...prepared.skipped,
  ]
  if (prepared.segments.length === 0) {
    return { values: aggregates.map(() => ({ count: 0, value: null })), segments: reports }
  }
  const values = await native
    .aggregate({ ...prepared.request, aggregates })
    .catch((error: unknown) => {
      throw outOfRange(error) ?? error
    })
  checkCancelled(context)
  return { values, segments: reports }
}

/** A sum that overflows; undefined: something else. Errors of the add-on have the SQLSTATE as their code. */
function outOfRange(error: unknown): DatabaseError | undefined {
  const isOne =
    error instanceof Error && 'code' in error && error.code === SqlState.numericValueOutOfRange
  return isOne ? new DatabaseError(SqlState.numericValueOutOfRange, error.message) : undefined
}

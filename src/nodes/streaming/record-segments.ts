/** Records a change of segments with the coordinator, and comes back only when it is known whether it is recorded. */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'

const pauseMsFirst = 10
const pauseMsMax = 1000

/**
 * For changes that must not be thought undone when they were done: a merge, whose inputs would be merged again into another
 * segment beside the one on record. What is recorded twice is the same, so an unclear outcome is settled by recording again: then
 * a later attempt that has certainly failed says nothing of those before it.
 * @param context of the background: a node that stops needs no answer, its successor reads what is recorded
 * @throws what the first attempt met, when it is not recorded; 55000 when it may not be
 */
export async function recordSegments(
  state: StreamingState,
  change: Parameters<Coordinator['switchSegments']>[0],
  context: Context,
): Promise<void> {
  let mayBeRecorded = false
  for (let pauseMs = pauseMsFirst; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      await state.coordinator.switchSegments(change)
      return
    } catch (error) {
      if (isUnclear(error)) mayBeRecorded = true
      else if (!mayBeRecorded || isRefused(error)) throw error
      checkUsable(state)
      await state.runtime.sleep(pauseMs, context.signal)
      checkUsable(state)
    }
  }
}

function isUnclear(error: unknown): boolean {
  return error instanceof Error && 'outcome' in error && error.outcome === 'indeterminate'
}

/** Its objects were taken for garbage (condemned.ts): of what is recorded they never are. */
function isRefused(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === SqlState.objectNotInPrerequisiteState
}

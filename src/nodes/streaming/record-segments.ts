/** Records a change of segments with the coordinator, and comes back only when it is known whether it is recorded. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Coordinator, SegmentChange } from '#nodes/coordinator/contract.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'

const pauseMsFirst = 10
const pauseMsMax = 1000

/**
 * For changes that must not be thought undone when they were done: a merge, whose inputs would be merged again into another
 * segment beside the one on record. What is recorded twice is the same, so an unclear outcome is settled by recording again: then
 * a later attempt that has certainly failed says nothing of those before it. A cancel request does not end it. A node that stops, or
 * has failed, does not know and needs no answer: it records nothing any more (whileUsable), its successor reads what is recorded.
 * @throws what the first attempt met, when it is not recorded; 55000 when it may not be; the node's failure
 */
export async function recordSegments(state: StreamingState, change: SegmentChange): Promise<void> {
  let mayBeRecorded = false
  for (let pauseMs = pauseMsFirst; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      await state.coordinator.switchSegments(change)
      return
    } catch (error) {
      if (isUnclear(error)) mayBeRecorded = true
      else if (!mayBeRecorded || isRefused(error)) throw error
      checkUsable(state)
      await sleepUnlessStopping(state, pauseMs)
      checkUsable(state)
    }
  }
}

async function sleepUnlessStopping(state: StreamingState, pauseMs: number): Promise<void> {
  try {
    await state.runtime.sleep(pauseMs, state.stopping)
  } catch {
    state.failure ??= state.stopping.reason as DatabaseError
  }
}

/**
 * The coordinator for the owner of a log channel: when the owner has failed it changes nothing. What it holds may be older than
 * what is on record, and would come back.
 * @throws the failure
 */
export function whileUsable(
  coordinator: Coordinator,
  failure: () => DatabaseError | undefined,
): Coordinator {
  return {
    ...coordinator,
    async switchSegments(change) {
      const reason = failure()
      if (reason !== undefined) throw reason
      await coordinator.switchSegments(change)
    },
  }
}

function isUnclear(error: unknown): boolean {
  return error instanceof Error && 'outcome' in error && error.outcome === 'indeterminate'
}

/** Its objects were taken for garbage (condemned.ts): of what is recorded they never are. */
function isRefused(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === SqlState.objectNotInPrerequisiteState
}

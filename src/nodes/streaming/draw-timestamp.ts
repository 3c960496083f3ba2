/**
 * Timestamps of commits. Each is drawn after its request came (who reads later reads above), and used in a step without
 * waiting, if nothing has been promised meanwhile that it would break: TS-2 it is above those before it in the log, TS-3 above
 * everything that was read here.
 *
 * With an exclusive coordinator drawing needs no waiting. Otherwise the timestamp is fetched first, and reads that come
 * meanwhile wait for it, lest they outrun every commit.
 */
import type { Context } from '#base/context.js'
import { invariant } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/**
 * @param fetched by fetchTimestamp() for this commit; it may have been overtaken
 * @returns undefined when one must be fetched
 */
export function drawTimestamp(
  state: StreamingState,
  fetched: Timestamp | undefined,
): Timestamp | undefined {
  const drawn = state.coordinator.timestampNow()
  if (drawn !== undefined) {
    invariant(
      'TS-3',
      drawn > state.servedTime,
      () => `${drawn} was drawn after ${state.servedTime} was served`,
    )
    return drawn < state.ownership.servesBefore ? drawn : undefined
  }
  if (fetched === undefined) return undefined
  if (fetched <= state.servedTime || fetched <= state.commits.lastTimestamp) return undefined
  return fetched < state.ownership.servesBefore ? fetched : undefined
}

/** A timestamp that was drawn after this was called, and that this node may serve. */
export async function fetchTimestamp(state: StreamingState, context: Context): Promise<Timestamp> {
  const fetching = fetch(state, context)
  const settled = fetching.then(afterItsCommit, afterItsCommit)
  state.fetching = settled
  try {
    return await fetching
  } finally {
    void settled.then(() => {
      if (state.fetching === settled) state.fetching = undefined
    })
  }
}

async function fetch(state: StreamingState, context: Context): Promise<Timestamp> {
  const timestamp = await state.coordinator.timestamp()
  if (timestamp >= state.ownership.servesBefore) {
    await state.ownership.waitToServe(timestamp, context)
  }
  return timestamp
}

/** The commit that fetched goes on some turns of the microtask queue after the answer: readers follow. */
async function afterItsCommit(): Promise<void> {
  for (let turn = 0; turn < 8; turn += 1) await null
}

/** What every read does first and last: wait until its timestamp is readable, take the view, give it back. */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Timestamp, timestampFrom, timestampMax } from '#base/timestamp.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'
import { type Channel, growingIsEmpty } from '#nodes/streaming/channel.js'
import { channelOf, checkUsable, type StreamingState } from '#nodes/streaming/state.js'
import { sealedIdsAt, type View } from '#nodes/streaming/view.js'

export interface Read {
  readonly channel: Channel
  readonly view: View
  readonly growing: readonly ReadableSegment[]
  readonly sealedIds: readonly number[]
}

interface ReadTarget {
  readonly tableId: number
  readonly shard: number
  readonly readAt: Timestamp
}

/** How far the oracle may be ahead of our clock before its timestamps are taken for nonsense. */
const futureMsMax = 3_600_000

const noSegments: readonly ReadableSegment[] = []

/** undefined: the read can begin at once. */
export function waitUntilReadable(
  state: StreamingState,
  readAt: Timestamp,
  context: Context,
): Promise<void> | undefined {
  checkUsable(state)
  checkCancelled(context)
  if (readAt >= state.ownership.servesBefore) return waitToServe(state, readAt, context)
  if (readAt > state.commits.appliedTime) {
    if (state.fetching !== undefined) return waitForFetch(state, readAt, context)
    const bound = state.commits.bound()
    if (bound !== undefined && readAt > bound) return waitForTime(state, readAt, context)
    noteServed(state, readAt)
  }
  return undefined
}

async function waitForTime(
  state: StreamingState,
  readAt: Timestamp,
  context: Context,
): Promise<void> {
  for (;;) {
    await state.commits.waitFor(readAt, context.signal)
    checkUsable(state)
    checkCancelled(context)
    // In one step with the promise: a commit whose timestamp was fetched before may have entered since the wait was over.
    const bound = state.commits.bound()
    if (bound === undefined || readAt <= bound) break
  }
  noteServed(state, readAt)
}

async function waitToServe(
  state: StreamingState,
  readAt: Timestamp,
  context: Context,
): Promise<void> {
  await state.ownership.waitToServe(readAt, context)
  await waitUntilReadable(state, readAt, context)
}

/** A commit is about to have its timestamp: one that began to ask before this read came goes first. */
async function waitForFetch(
  state: StreamingState,
  readAt: Timestamp,
  context: Context,
): Promise<void> {
  await state.fetching
  checkUsable(state)
  checkCancelled(context)
  await waitForTime(state, readAt, context)
}

/** TS-3. A time that the oracle has not reached is nobody's promise; a lease reaches a little further at most. */
function noteServed(state: StreamingState, readAt: Timestamp): void {
  if (readAt <= state.servedTime) return
  if (readAt <= reachedTime(state)) state.servedTime = readAt
}

function reachedTime({ coordinator, ownership, runtime }: StreamingState): Timestamp {
  if (ownership.servesBefore < timestampMax) return ownership.servesBefore
  const now = coordinator.timestampNow()
  // It would have to be waited for: then all but nonsense is promised, or a commit could come below what was read.
  return now ?? timestampFrom(runtime.nowMs() + futureMsMax, 0)
}

/** Called when the timestamp is readable, in the same step; endRead follows. @throws 72000 */
export function beginRead(state: StreamingState, target: ReadTarget): Read {
  const channel = channelOf(state, target.tableId, target.shard)
  if (target.readAt < channel.readableFrom) {
    throw new DatabaseError(SqlState.snapshotTooOld, 'snapshot too old', {
      detail: 'Rows that were deleted since have been removed.',
    })
  }
  const view = channel.acquireView()
  const growing = growingIsEmpty(view, target.readAt)
    ? noSegments
    : view.growing
        .filter(({ minInserted }) => minInserted <= target.readAt)
        .map((segment) => segment.readable())
  return { channel, view, growing, sealedIds: sealedIdsAt(view, target.readAt) }
}

export function endRead({ channel, view }: Read): void {
  channel.releaseView(view)
}

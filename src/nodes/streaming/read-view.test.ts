import { expect, test } from 'vitest'
import { backgroundContext } from '#base/context.js'
import { type Timestamp, timestampMax, timestampZero } from '#base/timestamp.js'
import { CommitQueue } from '#nodes/streaming/commit-queue.js'
import { drawTimestamp } from '#nodes/streaming/draw-timestamp.js'
import { waitUntilReadable } from '#nodes/streaming/read-view.js'
import type { StreamingState } from '#nodes/streaming/state.js'

const committedAt = 155 as Timestamp
const readAt = 156 as Timestamp

/** What reads and commits settle between them; the oracle is elsewhere, so its timestamps must be waited for. */
function newState(): StreamingState {
  return {
    commits: new CommitQueue((error) => {
      throw error
    }),
    servedTime: timestampZero,
    fetching: Promise.resolve(),
    ownership: { servesBefore: timestampMax },
    coordinator: { timestampNow: () => undefined },
    runtime: { nowMs: () => Date.now() },
    failure: undefined,
  } as unknown as StreamingState
}

test('TS-3: a commit whose timestamp was fetched before a read is seen by it or comes above, in whichever turn it enters', async () => {
  let enteredCount = 0
  let refusedCount = 0
  for (let turns = 0; turns < 12; turns += 1) {
    const state = newState()
    let isApplied = false
    let isEntered = false
    const entering = (async () => {
      for (let turn = 0; turn < turns; turn += 1) await null
      if (drawTimestamp(state, committedAt) === undefined) return
      isEntered = true
      const entered = state.commits.enter(committedAt, {
        apply: () => {
          isApplied = true
        },
        undo: () => {},
      })
      // The log takes its time.
      setTimeout(() => entered.appended(1), 5)
    })()
    await waitUntilReadable(state, readAt, backgroundContext)
    expect(isEntered, `entered after ${turns} turns`).toBe(isApplied)
    await entering
    if (isEntered) enteredCount += 1
    else refusedCount += 1
  }
  expect(Math.min(enteredCount, refusedCount)).toBeGreaterThan(0)
})

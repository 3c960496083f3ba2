/**
 * Leaving in order, in bounded time: what is not done by then the others find out by themselves, as when a process dies.
 */
import type { Runtime } from '#base/runtime.js'

const lookMs = 50

/** @returns whether the work was done in time; it goes on otherwise */
export async function within(
  runtime: Runtime,
  ms: number,
  work: () => Promise<unknown>,
  onError: (error: unknown) => void,
): Promise<boolean> {
  const over = new AbortController()
  const done = work().then(
    () => true,
    (error: unknown) => {
      onError(error)
      return true
    },
  )
  const late = runtime.sleep(ms, over.signal).then(
    () => false,
    () => false,
  )
  const isDone = await Promise.race([done, late])
  over.abort()
  return isDone
}

/** Until nothing is held any more, or nobody is there who could take it, or the time is over. */
export async function untilGivenAway(
  runtime: Runtime,
  msMax: number,
  holds: () => boolean,
  canBeTaken: () => boolean,
): Promise<void> {
  const deadlineMs = runtime.monotonicMs() + msMax
  while (holds() && canBeTaken() && runtime.monotonicMs() < deadlineMs) await runtime.sleep(lookMs)
}

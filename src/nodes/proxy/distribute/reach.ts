/** Asking a node over a network that loses messages: what is safe to repeat is repeated, for a while or for ever. */
import type { Context } from '#base/context.js'
import { shownUnreachable, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

const pauseMsFirst = 10
const pauseMsMax = 1000
/** About ten seconds in all: a node that was restarted is back by then, or another has its channels. */
const attemptsMax = 18

/** Grows with the attempts; random, so that those who wait for the same node do not come back together. */
export function pauseMs(attempt: number, runtime: Runtime): number {
  return Math.min(pauseMsMax, pauseMsFirst * 2 ** attempt) * (0.5 + runtime.random() / 2)
}

/**
 * @param work safe to repeat; with 'determinate' only if it is certain that nothing has happened
 * @throws 08006 when nobody answers for about ten seconds; everything else as it is
 */
export async function reach<T>(
  runtime: Runtime,
  context: Context,
  work: () => Promise<T>,
  repeat: 'always' | 'determinate' = 'always',
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (repeat === 'determinate' && isIndeterminate(error)) throw error
      await pauseAfter(error, attempt, runtime, context)
    }
  }
}

/** As reach(). What was begun and lost on the way cannot be continued: only the first part is asked for again. */
export async function* reachScan<Part, Summary>(
  runtime: Runtime,
  context: Context,
  begin: () => AsyncGenerator<Part, Summary>,
  nothing: Summary,
): AsyncGenerator<Part, Summary> {
  for (let attempt = 0; ; attempt += 1) {
    const scan = begin()
    let begun = false
    try {
      for (;;) {
        const next = await scan.next()
        if (next.done === true) return next.value
        begun = true
        yield next.value
      }
    } catch (error) {
      if (begun) throw shown(error)
      await pauseAfter(error, attempt, runtime, context)
    } finally {
      await scan.return(nothing)
    }
  }
}

async function pauseAfter(
  error: unknown,
  attempt: number,
  runtime: Runtime,
  context: Context,
): Promise<void> {
  if (!(error instanceof UnreachableError)) throw error
  if (attempt >= attemptsMax) throw shown(error)
  await runtime.sleep(pauseMs(attempt, runtime), context.signal)
}

function isIndeterminate(error: unknown): boolean {
  return error instanceof UnreachableError && error.outcome === 'indeterminate'
}

function shown(error: unknown): unknown {
  return error instanceof UnreachableError ? shownUnreachable(error) : error
}

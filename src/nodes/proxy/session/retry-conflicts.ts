/**
 * READ COMMITTED: a statement that is a transaction of its own, and lost to another at its commit, runs again as if it came later.
 * PostgreSQL never tells of such a conflict there: it waits for the row. Here rows are locked, too, but locks may be lost with the node
 * that keeps them, and keys and references are judged at the commit.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'

const attemptsMax = 8
const pauseMsFirst = 2

/**
 * @param mayRunAgain after a failure: the transaction is rolled back and the client was sent nothing
 * @throws the last attempt's error
 */
export async function retryConflicts(
  runtime: Runtime,
  context: Context,
  work: () => Promise<void>,
  mayRunAgain: () => boolean,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      const isConflict =
        error instanceof DatabaseError && error.sqlState === SqlState.serializationFailure
      if (!isConflict || attempt === attemptsMax || !mayRunAgain()) throw error
    }
    checkCancelled(context)
    // Random: those that met do not meet again.
    await runtime.sleep(pauseMsFirst * 2 ** attempt * runtime.random(), context.signal)
  }
}

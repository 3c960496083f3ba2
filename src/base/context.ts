import { setMaxListeners } from 'node:events'

/** What one piece of work carries along: passed as the last parameter. */
export interface Context {
  /** Aborted on cancel request, statement_timeout, or disconnect. The reason is the DatabaseError to report. */
  readonly signal: AbortSignal
  /** Of the statement that the work is for: the same in the logs of all nodes. Undefined: nobody's. */
  readonly queryId?: string | undefined
}

const never = new AbortController()
// As many as there is work in the background.
setMaxListeners(0, never.signal)
/** A context that is never cancelled: background work. */
export const backgroundContext: Context = { signal: never.signal }

/** @throws the signal's reason if the work was cancelled. */
export function checkCancelled(context: Context): void {
  context.signal.throwIfAborted()
}

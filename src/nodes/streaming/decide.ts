/**
 * The deciding node of a transaction over several log channels: the others have prepared, its commit record is the decision.
 * A message may come twice, also after it was executed: the first outcome stands. What is once called aborted stays so.
 */
import type { Context } from '#base/context.js'
import { commit, type DecidingCommit } from '#nodes/streaming/commit.js'
import type {
  CommitRequest,
  CommitResult,
  Decision,
  Outcome,
  TransactionId,
} from '#nodes/streaming/contract.js'
import { type JudgedDecision, refused } from '#nodes/streaming/decisions.js'
import { checkUsable, type StreamingState } from '#nodes/streaming/state.js'

/** A commit that waits for others this long is given up when someone asks: they may be waiting for it. */
const judgingMsMax = 5000

export async function decide(
  state: StreamingState,
  request: CommitRequest,
  decision: Decision,
  context: Context,
): Promise<CommitResult> {
  const { decisions } = state
  const { transactionId } = decision
  decisions.checkOwn(transactionId)
  const known = decisions.get(transactionId)
  if (known?.phase === 'committed') return { timestamp: known.committedAt }
  if (known !== undefined) return await known.done
  if (decisions.isRefused(decision)) throw refused()
  let judged: JudgedDecision | undefined
  const deciding: DecidingCommit = {
    decision,
    check() {
      if (decisions.isRefused(decision)) throw refused()
    },
    appending() {
      if (judged !== undefined) judged.phase = 'appending'
    },
    committed(committedAt, position) {
      const untold = new Set(decision.participants)
      const sinceMs = state.runtime.monotonicMs()
      decisions.made({ phase: 'committed', decision, committedAt, untold, position, sinceMs })
    },
  }
  // Begun in a later turn: whoever comes twice must find the first.
  const done = Promise.resolve().then(() => commit(state, request, context, deciding))
  judged = { phase: 'judging', done, sinceMs: state.runtime.monotonicMs() }
  decisions.begin(transactionId, judged)
  try {
    return await done
  } catch (error) {
    // Whoever hears this calls it aborted; if the log does not know, the node has failed and the next term refuses it.
    if (decisions.get(transactionId)?.phase !== 'committed') decisions.refuse(transactionId)
    throw error
  }
}

/** @throws 57P03 when a later owner must be asked */
export function outcome(state: StreamingState, transactionId: TransactionId): Outcome {
  checkUsable(state)
  const { decisions } = state
  decisions.checkOwn(transactionId)
  const known = decisions.get(transactionId)
  if (known?.phase === 'committed') return { kind: 'committed', timestamp: known.committedAt }
  if (known !== undefined) {
    const waitedMs = state.runtime.monotonicMs() - known.sinceMs
    if (known.phase === 'appending' || waitedMs < judgingMsMax) return { kind: 'undecided' }
  }
  decisions.refuse(transactionId)
  return { kind: 'aborted' }
}

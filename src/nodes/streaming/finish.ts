/**
 * What became of a prepared transaction: a finish record, then it is applied at the timestamp of its commit, or given up.
 * The record need not wait for its turn in the queue: whatever conflicts waits for it.
 */
import { invariant } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { applyHeld } from '#nodes/streaming/apply.js'
import type { TransactionId } from '#nodes/streaming/contract.js'
import { dropStage } from '#nodes/streaming/enter-rows.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import { channelsOf, type PreparedTransaction, release } from '#nodes/streaming/prepared.js'
import type { StreamingState } from '#nodes/streaming/state.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'

/** Idempotent. @param committedAt undefined: aborted */
export async function finish(
  state: StreamingState,
  transactionId: TransactionId,
  committedAt: Timestamp | undefined,
): Promise<void> {
  const { transactions } = state
  const preparing = transactions.preparing.get(transactionId)
  // One that is not entered yet finds itself finished when it would be.
  if (preparing?.isEntered) await preparing.done.catch(() => {})
  const prepared = transactions.prepared.get(transactionId)
  if (prepared === undefined) return await finishUnknown(state, transactionId, committedAt)
  const isGhost = committedAt !== undefined && committedAt <= prepared.timestamp
  await finishPrepared(state, prepared, isGhost ? undefined : committedAt)
}

export async function finishPrepared(
  state: StreamingState,
  prepared: PreparedTransaction,
  committedAt: Timestamp | undefined,
): Promise<void> {
  const { finishing, transactionId } = prepared
  if (finishing !== undefined) {
    invariant('TXN-1', finishing.committedAt === committedAt, () => `two ends of ${transactionId}`)
    return await finishing.done
  }
  const record = encodeLogRecord({ kind: 'finish', transactionId, committedAt })
  const done = state.log.append([record], () => {
    applyFinished(state, prepared, committedAt)
  })
  prepared.finishing = { committedAt, done }
  try {
    await done
  } catch (error) {
    prepared.finishing = undefined
    throw storeFailure(error)
  }
}

/** Finished before, or never prepared; or prepared on another owner of the log channel: who can append here is the owner. */
async function finishUnknown(
  state: StreamingState,
  transactionId: TransactionId,
  committedAt: Timestamp | undefined,
): Promise<void> {
  const { transactions } = state
  if (transactions.finished(transactionId) !== undefined) return
  if (committedAt === undefined) {
    transactions.noteFinished(transactionId, 'aborted')
    return
  }
  const record = encodeLogRecord({ kind: 'finish', transactionId, committedAt })
  try {
    await state.log.append([record])
  } catch (error) {
    throw storeFailure(error)
  }
  transactions.noteFinished(transactionId, 'committed')
}

/** Live and in replay. */
export function applyFinished(
  state: StreamingState,
  prepared: PreparedTransaction,
  committedAt: Timestamp | undefined,
): void {
  const { held, copies, transactionId, position } = prepared
  release(state.transactions, held, prepared)
  if (committedAt === undefined) {
    for (const stage of held.stages) dropStage(state, stage)
    for (const copy of copies) copy.dropped()
  } else {
    // From the position of its prepare record on: that one names rows and deletes.
    applyHeld(state, held, committedAt, position)
    for (const copy of copies) copy.committed()
    for (const reference of held.references) {
      const { tableId, rowId } = reference
      state.references.add(tableId, rowId, { at: committedAt, ...reference })
    }
  }
  for (const channel of channelsOf(held)) channel.undecided.delete(prepared)
  state.transactions.prepared.delete(transactionId)
  state.transactions.noteFinished(
    transactionId,
    committedAt === undefined ? 'aborted' : 'committed',
  )
  state.commits.decided(prepared, committedAt)
  prepared.settle()
}

/**
 * The part of a transaction over several log channels on a node that does not decide:
 *
 * 1. Judge the assertions and enter rows and deletes as pending, as a commit does (admit.ts); append a prepare record.
 * 2. When the log has it: from its timestamp on reads and conflicting transactions wait here for the outcome.
 *
 * A message may come twice, also after the outcome; one that comes after a restart has forgotten the outcome prepares a ghost:
 * its timestamp is above that of the commit, by which finish.ts knows it.
 */
import type { Context } from '#base/context.js'
import { invariant } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { type Admitted, admit, dropInserted, writeRecords } from '#nodes/streaming/admit.js'
import { referencesOf } from '#nodes/streaming/commit.js'
import type { CommitRequest, TransactionId } from '#nodes/streaming/contract.js'
import { refused } from '#nodes/streaming/decisions.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import {
  channelsOf,
  type Held,
  type HeldCopy,
  hold,
  type PreparedTransaction,
  release,
} from '#nodes/streaming/prepared.js'
import type { StreamingState } from '#nodes/streaming/state.js'
import { storeFailure } from '#nodes/streaming/store-failure.js'

export interface Prepared {
  readonly preparedAt: Timestamp
}

export function prepare(
  state: StreamingState,
  transactionId: TransactionId,
  request: CommitRequest,
  context: Context,
): Promise<Prepared> {
  const { transactions } = state
  const before = transactions.preparing.get(transactionId)
  if (before !== undefined) return before.done
  // Begun in a later turn: whoever comes twice must find the first.
  const done = Promise.resolve()
    .then(() => prepareOnce(state, transactionId, request, context))
    .finally(() => {
      transactions.preparing.delete(transactionId)
    })
  transactions.preparing.set(transactionId, { done, isEntered: false })
  return done
}

async function prepareOnce(
  state: StreamingState,
  transactionId: TransactionId,
  request: CommitRequest,
  context: Context,
): Promise<Prepared> {
  const { transactions } = state
  invariant('TXN-5', request.ddl === undefined, 'DDL lies with the node that decides')
  function checkOpen(): void {
    if (transactions.finished(transactionId) !== undefined) throw refused()
  }
  checkOpen()
  const known = transactions.prepared.get(transactionId)
  if (known !== undefined) return { preparedAt: known.timestamp }
  return await admit(state, request, context, checkOpen, (admitted) =>
    append(state, transactionId, admitted),
  )
}

/** The step from judging to the log; async only in what it returns. */
function append(
  state: StreamingState,
  transactionId: TransactionId,
  admitted: Admitted,
): Promise<Prepared> {
  const { plan, timestamp, stages } = admitted
  const preparing = state.transactions.preparing.get(transactionId)
  if (preparing !== undefined) preparing.isEntered = true
  const held: Held = {
    writes: plan.writes,
    stages,
    absentKeys: plan.absent.flatMap(({ records }) => records),
    references: referencesOf(state, plan),
  }
  const prepared = createPrepared(
    transactionId,
    timestamp,
    held,
    plan.copies,
    state.runtime.monotonicMs(),
  )
  const record = encodeLogRecord({
    kind: 'prepare',
    transactionId,
    preparedAt: timestamp,
    stageIds: stages.map((stage) => stage.stageId),
    writes: writeRecords(plan),
    absentKeys: held.absentKeys,
    references: held.references,
  })
  const entered = state.commits.enter(timestamp, {
    apply(position) {
      prepared.position = position
      enterPrepared(state, prepared)
    },
    undo() {
      for (const channel of channelsOf(held)) channel.undecided.delete(prepared)
      release(state.transactions, held, prepared)
      dropInserted(state, admitted)
      prepared.settle()
    },
  })
  hold(state.transactions, held, prepared)
  // From now on, not only when the record is in the log: a truncation that came between the two would be decided apart from it.
  for (const channel of channelsOf(held)) channel.undecided.add(prepared)
  state.log.append([...admitted.payloads, record], entered.appended).catch(entered.failed)
  return entered.done.then(
    () => ({ preparedAt: timestamp }),
    (error: unknown) => {
      prepared.settle()
      throw storeFailure(error)
    },
  )
}

export function createPrepared(
  transactionId: TransactionId,
  preparedAt: Timestamp,
  held: Held,
  copies: readonly HeldCopy[],
  sinceMs: number,
): PreparedTransaction {
  let settle: () => void = () => {}
  const settled = new Promise<void>((onSettled) => {
    settle = onSettled
  })
  return {
    kind: 'prepared',
    timestamp: preparedAt,
    settled,
    transactionId,
    held,
    copies,
    position: Number.POSITIVE_INFINITY,
    sinceMs,
    settle,
    finishing: undefined,
  }
}

/** Its record is in the log. */
export function enterPrepared(state: StreamingState, prepared: PreparedTransaction): void {
  state.transactions.prepared.set(prepared.transactionId, prepared)
  for (const channel of channelsOf(prepared.held)) channel.undecided.add(prepared)
  state.commits.hold(prepared, prepared.settle)
  state.onPrepared()
}

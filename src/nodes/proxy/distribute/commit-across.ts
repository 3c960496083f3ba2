/**
 * Commits a transaction over several log channels (docs/adr/2026-11-21-transactions-over-log-channels.md).
 *
 * 1. Prepare all participants but the last, in the order of their names. If one refuses or cannot be reached, those that
 *    may have prepared are told that it is off.
 * 2. Commit on the last: its record is the decision. If its answer is lost, it is asked what became of it until it says so.
 * 3. The others are told in the background: the client has its answer. If this process dies, they ask by themselves.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { Participant } from '#nodes/proxy/distribute/cut-commit.js'
import type { Layout } from '#nodes/proxy/distribute/layout.js'
import { pauseMs, reach } from '#nodes/proxy/distribute/reach.js'
import type {
  CommitRequest,
  CommitResult,
  Outcome,
  StreamingNode,
  TransactionId,
} from '#nodes/streaming/contract.js'

export interface Committing {
  readonly layout: Layout
  readonly runtime: Runtime
  /** Aborted when the proxy stops: nobody is told or asked any more. */
  readonly stopping: AbortSignal
  /** Work that goes on after the answer. */
  readonly inBackground: (work: Promise<void>) => void
}

/** @throws as StreamingNode.commit(): nothing of it has happened then; 08007 when the proxy stops before it is known */
export async function commitAcross(
  committing: Committing,
  participants: readonly Participant[],
  context: Context,
): Promise<CommitResult> {
  const { layout, runtime } = committing
  const others = participants.slice(0, -1)
  const decider = participants[others.length]
  if (decider === undefined) throw new DatabaseError(SqlState.internalError, 'no participant')
  const deciderNode = layout.node(decider.logChannel)
  const term = await reach(runtime, context, () => deciderNode.term())
  const unique = Buffer.from(runtime.randomBytes(12)).toString('hex')
  const transactionId = `${decider.logChannel}/${term}/${unique}`
  const preparedAt = await prepareAll(committing, transactionId, others, context)
  const names = others.map(({ logChannel }) => logChannel)
  const request = {
    ...decider.request,
    decides: { transactionId, participants: names, preparedAt },
  }
  let committedAt: Timestamp | undefined
  try {
    committedAt = await decide(committing, decider.logChannel, request, transactionId, context)
  } catch (error) {
    if (!isUnknown(error)) tellAll(committing, transactionId, names, undefined)
    throw error
  }
  tellAll(committing, transactionId, names, committedAt)
  if (committedAt === undefined) {
    throw new DatabaseError(
      SqlState.serializationFailure,
      'could not serialize access: the transaction was given up while a node was away',
      { hint: 'Try the transaction again.' },
    )
  }
  return { timestamp: committedAt }
}

/** @returns undefined: aborted, by whoever asked before the decision came to the log */
async function decide(
  committing: Committing,
  logChannel: string,
  request: CommitRequest,
  transactionId: TransactionId,
  context: Context,
): Promise<Timestamp | undefined> {
  const node = committing.layout.node(logChannel)
  try {
    const { timestamp } = await commitOn(committing.runtime, node, request, context)
    return timestamp
  } catch (error) {
    if (!isUnclear(error)) throw error
    return await timestampOf(committing, logChannel, transactionId)
  }
}

/** Repeated only while it is certain that nothing has happened. */
export function commitOn(
  runtime: Runtime,
  node: StreamingNode,
  request: CommitRequest,
  context: Context,
): Promise<CommitResult> {
  return reach(runtime, context, () => node.commit(request, context), 'determinate')
}

async function prepareAll(
  committing: Committing,
  transactionId: TransactionId,
  others: readonly Participant[],
  context: Context,
): Promise<Timestamp> {
  const { layout, runtime } = committing
  const asked: string[] = []
  let preparedAt = timestampZero
  try {
    for (const { logChannel, request } of others) {
      asked.push(logChannel)
      const node = layout.node(logChannel)
      const prepared = await reach(runtime, context, () =>
        node.prepare(transactionId, request, context),
      )
      if (prepared.preparedAt > preparedAt) preparedAt = prepared.preparedAt
    }
  } catch (error) {
    // Also the one that failed: it may have prepared and been unable to say so.
    tellAll(committing, transactionId, asked, undefined)
    throw error
  }
  return preparedAt
}

/** Whether it may have happened. */
function isUnclear(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof StoreError) {
    return error.outcome === 'indeterminate'
  }
  // The node has failed in the middle (its log did not say): whoever owns the log channel next will know.
  return error instanceof DatabaseError && error.sqlState === SqlState.adminShutdown
}

function isUnknown(error: unknown): boolean {
  return error instanceof DatabaseError && error.sqlState === SqlState.transactionResolutionUnknown
}

/** undefined: aborted. Not cancellable: the client must not be told less than what is known. */
async function timestampOf(
  { layout, runtime, stopping }: Committing,
  logChannel: string,
  transactionId: TransactionId,
): Promise<Timestamp | undefined> {
  for (let attempt = 0; ; attempt += 1) {
    let outcome: Outcome = { kind: 'undecided' }
    try {
      outcome = await layout.node(logChannel).outcome(transactionId)
    } catch {
      // Away, or still reading its log.
    }
    if (outcome.kind === 'committed') return outcome.timestamp
    if (outcome.kind === 'aborted') return undefined
    await runtime.sleep(pauseMs(attempt, runtime), stopping).catch((error: unknown) => {
      throw new DatabaseError(
        SqlState.transactionResolutionUnknown,
        'the server stops before it is known whether the transaction has been committed',
        { cause: error },
      )
    })
  }
}

function tellAll(
  committing: Committing,
  transactionId: TransactionId,
  logChannels: readonly string[],
  committedAt: Timestamp | undefined,
): void {
  for (const logChannel of logChannels)
    committing.inBackground(tell(committing, logChannel, transactionId, committedAt))
}

/** Until it has heard it, or we stop: then it asks by itself. */
async function tell(
  { layout, runtime, stopping }: Committing,
  logChannel: string,
  transactionId: TransactionId,
  committedAt: Timestamp | undefined,
): Promise<void> {
  for (let attempt = 0; !stopping.aborted; attempt += 1) {
    try {
      await layout.node(logChannel).finish(transactionId, committedAt)
      return
    } catch {
      await runtime.sleep(pauseMs(attempt, runtime), stopping).catch(() => {})
    }
  }
}

/**
 * What this node has decided for transactions over several log channels, and what it has promised not to commit. An id belongs
 * to one term of one log channel, so what is promised need not outlive the node: the next has a higher term.
 *
 * A decision is remembered until all participants have it on record, and for a while after, for whoever asks late; it is in
 * the log, or, when the log forgets it, in the meta store under `streaming/decision/<transaction id>`.
 */
import { DatabaseError, InvariantError, invariant, SqlState } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import type { CommitResult, Decision, TransactionId } from '#nodes/streaming/contract.js'

const prefix = 'streaming/decision/'
/** Bytes: some hundred each. Only conflicts and proxies that died leave any; a new term forgets them all. */
const refusedCountMax = 1_000_000

export interface JudgedDecision {
  phase: 'judging' | 'appending'
  readonly done: Promise<CommitResult>
  readonly sinceMs: number
}

export interface MadeDecision {
  readonly phase: 'committed'
  readonly decision: Decision
  readonly committedAt: Timestamp
  /** Log channels that are not known to have it on record. */
  readonly untold: Set<string>
  /** Of its record; +Infinity: it is in the meta store. */
  position: number
  /** Monotonic milliseconds when it was made, or found by replay. */
  readonly sinceMs: number
}

export class Decisions {
  readonly #logChannel: string
  readonly term: number
  readonly #known = new Map<TransactionId, JudgedDecision | MadeDecision>()
  readonly #refused = new Set<TransactionId>()
  /** Transactions prepared at or before are refused: some of them were committed and are forgotten. */
  #forgottenUpTo: Timestamp = timestampZero

  constructor(logChannel: string, term: number) {
    this.#logChannel = logChannel
    this.term = term
  }

  /** @throws XX000 when the id belongs to another log channel, 57P03 when to a later owner */
  checkOwn(transactionId: TransactionId): number {
    const { logChannel, term } = parseTransactionId(transactionId)
    invariant('TXN-4', logChannel === this.#logChannel, () => `${transactionId} is not ours`)
    if (term <= this.term) return term
    throw new DatabaseError(
      SqlState.cannotConnectNow,
      `log channel ${logChannel} has a newer owner than term ${this.term}`,
    )
  }

  get count(): number {
    return this.#known.size
  }

  get(transactionId: TransactionId): JudgedDecision | MadeDecision | undefined {
    return this.#known.get(transactionId)
  }

  isRefused({ transactionId, preparedAt }: Decision): boolean {
    const isOld = parseTransactionId(transactionId).term !== this.term
    return isOld || this.#refused.has(transactionId) || preparedAt <= this.#forgottenUpTo
  }

  begin(transactionId: TransactionId, judged: JudgedDecision): void {
    this.#known.set(transactionId, judged)
  }

  made(made: MadeDecision): void {
    this.#known.set(made.decision.transactionId, made)
  }

  /** A promise: it is not committed from here on. */
  refuse(transactionId: TransactionId): void {
    this.#known.delete(transactionId)
    if (parseTransactionId(transactionId).term !== this.term) return
    this.#refused.add(transactionId)
  }

  /** More is promised than should be kept in mind: time for the next term. */
  get isFull(): boolean {
    return this.#refused.size > refusedCountMax
  }

  *all(): Iterable<MadeDecision> {
    for (const known of this.#known.values()) if (known.phase === 'committed') yield known
  }

  forget({ decision }: MadeDecision): void {
    this.#known.delete(decision.transactionId)
    if (decision.preparedAt > this.#forgottenUpTo) this.#forgottenUpTo = decision.preparedAt
  }
}

export function parseTransactionId(transactionId: TransactionId): {
  readonly logChannel: string
  readonly term: number
} {
  const [logChannel, term, unique] = transactionId.split('/')
  if (logChannel === undefined || term === undefined || unique === undefined) {
    throw new InvariantError('TXN-4', `${transactionId} is no transaction id`)
  }
  return { logChannel, term: Number(term) }
}

export function refused(): DatabaseError {
  return new DatabaseError(
    SqlState.serializationFailure,
    'could not serialize access: the transaction was given up while a node was away',
    { hint: 'Try the transaction again.' },
  )
}

export async function loadDecisions(
  coordinator: Coordinator,
  logChannel: string,
  nowMs: number,
): Promise<readonly MadeDecision[]> {
  const settings = await coordinator.listSettings(`${prefix}${logChannel}/`)
  return settings.map(({ key, value }) => {
    const stored = JSON.parse(new TextDecoder().decode(value)) as StoredDecision
    const { participants, preparedAt, committedAt } = stored
    return {
      phase: 'committed',
      decision: { transactionId: key.slice(prefix.length), participants, preparedAt },
      committedAt,
      untold: new Set(participants),
      position: Number.POSITIVE_INFINITY,
      sinceMs: nowMs,
    }
  })
}

interface StoredDecision {
  readonly participants: readonly string[]
  readonly preparedAt: Timestamp
  readonly committedAt: Timestamp
}

/** So long the log keeps decisions that all have on record: after a crash they are still known to whoever asks. */
const keepInLogMs = 60_000

/** From where on the log is kept for decisions that all have on record. */
export function decisionsPosition(decisions: Decisions, nowMs: number): number {
  let needed = Number.POSITIVE_INFINITY
  for (const { untold, sinceMs, position } of decisions.all()) {
    if (untold.size === 0 && nowMs - sinceMs < keepInLogMs) needed = Math.min(needed, position)
  }
  return needed
}

/**
 * What lies below the position and not all have on record. To be asked in one step with decisionsPosition: one that all come to
 * have on record later would be counted by neither.
 */
export function untoldBelow(decisions: Decisions, position: number): readonly MadeDecision[] {
  return [...decisions.all()].filter((made) => made.position < position && made.untold.size > 0)
}

/** The log need not have them any more. */
export async function saveDecisions(
  untold: readonly MadeDecision[],
  coordinator: Coordinator,
): Promise<void> {
  for (const made of untold) {
    const { transactionId, preparedAt } = made.decision
    const stored: StoredDecision = {
      participants: [...made.untold],
      preparedAt,
      committedAt: made.committedAt,
    }
    const value = new TextEncoder().encode(JSON.stringify(stored))
    await coordinator.putSetting(`${prefix}${transactionId}`, value)
    made.position = Number.POSITIVE_INFINITY
  }
}

/** All have it, and nobody asks any more. */
export async function forgetDecision(
  decisions: Decisions,
  coordinator: Coordinator,
  made: MadeDecision,
): Promise<void> {
  if (made.position === Number.POSITIVE_INFINITY) {
    await coordinator.putSetting(`${prefix}${made.decision.transactionId}`, undefined)
  }
  decisions.forget(made)
}

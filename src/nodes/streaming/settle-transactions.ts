/**
 * Brings transactions over several log channels to their end, whoever has died: tells participants what was decided here, and
 * asks the deciding node about what is prepared here. The proxy mostly does both before.
 */
import { type Context, checkCancelled } from '#base/context.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'
import {
  forgetDecision,
  type MadeDecision,
  parseTransactionId,
} from '#nodes/streaming/decisions.js'
import { finish } from '#nodes/streaming/finish.js'
import type { PreparedTransaction } from '#nodes/streaming/prepared.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/** Another log channel's node; undefined while it has none. */
export type Peers = (logChannel: string) => StreamingNode | undefined

/** Who asks for an outcome that late is told 'aborted' for what was committed: a proxy asks for seconds. */
const rememberMs = 10 * 60_000
/** Beyond that many, a tenth of the time must do. */
const rememberedCountMax = 100_000
/** Messages under way at once. */
const batchSize = 64

/** One look at everything that is due. What fails is tried again in the next. */
export async function settleTransactions(
  state: StreamingState,
  peers: Peers,
  context: Context,
): Promise<void> {
  const nowMs = state.runtime.monotonicMs()
  const dueMs = nowMs - state.limits.undecidedMs
  const isMany = state.decisions.count > rememberedCountMax
  const forgetMs = nowMs - (isMany ? rememberMs / 10 : rememberMs)
  const work: (() => Promise<void>)[] = []
  for (const made of state.decisions.all()) {
    if (made.untold.size > 0) {
      if (made.sinceMs <= dueMs) work.push(() => tell(made, peers))
    } else if (made.sinceMs < forgetMs) {
      work.push(() => forgetDecision(state.decisions, state.coordinator, made))
    }
  }
  for (const prepared of state.transactions.prepared.values()) {
    if (prepared.sinceMs <= dueMs) work.push(() => ask(state, prepared, peers))
  }
  for (let from = 0; from < work.length; from += batchSize) {
    checkCancelled(context)
    await Promise.all(work.slice(from, from + batchSize).map((step) => step().catch(() => {})))
  }
}

async function tell({ decision, committedAt, untold }: MadeDecision, peers: Peers): Promise<void> {
  for (const logChannel of [...untold]) {
    const peer = peers(logChannel)
    if (peer === undefined) continue
    try {
      await peer.finish(decision.transactionId, committedAt)
      untold.delete(logChannel)
    } catch {
      // Away, or reading its log.
    }
  }
}

async function ask(
  state: StreamingState,
  { transactionId }: PreparedTransaction,
  peers: Peers,
): Promise<void> {
  const peer = peers(parseTransactionId(transactionId).logChannel)
  if (peer === undefined) return
  const outcome = await peer.outcome(transactionId)
  if (outcome.kind === 'undecided') return
  await finish(state, transactionId, outcome.kind === 'committed' ? outcome.timestamp : undefined)
}

/** Looks again and again. @returns stops it */
export function startSettling(
  state: StreamingState,
  peers: Peers,
  onError: (error: unknown) => void,
): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  const pauseMs = Math.max(50, state.limits.undecidedMs / 2)
  const stopped = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

  async function loop(): Promise<void> {
    while (!signal.aborted && state.failure === undefined) {
      try {
        await settleTransactions(state, peers, { signal })
        if (state.decisions.isFull) state.fail(new Error('too many refused transactions'))
      } catch (error) {
        if (!signal.aborted) onError(error)
      }
      await state.runtime.sleep(pauseMs, signal).catch(() => {})
    }
  }

  const looping = loop()
  return {
    async stop() {
      stopping.abort(new Error('streaming node is stopping'))
      // A message to a peer may be long on its way.
      await Promise.race([looping, stopped])
    },
  }
}

/**
 * The history of a run: one JSON object a line, in the order in which the clients saw things happen. An operation is
 * invoked before its first byte goes out and completed after its last answer has come, so that the order of lines is an
 * order in real time. `info` is a completion whose outcome nobody knows; its process never acts again.
 */

import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'

/** ["append", key, element] or ["r", key, elements]; null: not read yet. */
export type ListStep =
  | readonly ['append', number, number]
  | readonly ['r', number, readonly number[] | null]

/** How much an account gains. */
export type Leg = readonly [account: number, delta: number]

/** Everything found by a read of all tables while nobody writes. */
export interface Audit {
  /** Transfers from this number on are listed; those before it were listed earlier. */
  readonly from: number
  readonly transfers: readonly (readonly [id: number, legCount: number])[]
  readonly legs: readonly (readonly [transfer: number, account: number, delta: number])[]
  readonly balances: readonly (readonly [account: number, balance: number])[]
  readonly transferCount: number
  readonly legCount: number
}

/** Sums that one snapshot showed. */
export interface Totals {
  readonly balance: number
  readonly accounts: number
  /** Sum of all legs; undefined where it was not asked for. */
  readonly delta?: number
  /** Legs that the transfers say they have, and legs found. */
  readonly legsSaid?: number
  readonly legsFound?: number
}

export type Operation =
  | {
      readonly f: 'transfer'
      readonly value: { readonly id: number; readonly legs: readonly Leg[] }
    }
  | { readonly f: 'total'; readonly value: readonly Totals[] }
  | {
      readonly f: 'lists'
      readonly level: 'snapshot' | 'committed'
      readonly value: readonly ListStep[]
    }
  | { readonly f: 'audit'; readonly value: Audit | null }
  | { readonly f: 'start' | 'kill'; readonly value: number }

export type Outcome = 'ok' | 'fail' | 'info'

export type HistoryEvent = Operation & {
  readonly index: number
  /** Nanoseconds since the run began. */
  readonly time: number
  readonly process: number
  readonly type: 'invoke' | Outcome
  readonly error?: string
}

export interface Recorder {
  invoke(process: number, operation: Operation): void
  complete(process: number, type: Outcome, operation: Operation, error?: string): void
  close(): Promise<void>
}

export function openRecorder(path: string): Recorder {
  const stream: WriteStream = createWriteStream(path)
  const startedAt = process.hrtime.bigint()
  let index = 0
  const write = (
    actor: number,
    type: HistoryEvent['type'],
    operation: Operation,
    error?: string,
  ): void => {
    const time = Number(process.hrtime.bigint() - startedAt)
    const line = {
      index,
      time,
      process: actor,
      type,
      ...operation,
      ...(error === undefined ? {} : { error }),
    }
    index += 1
    stream.write(`${JSON.stringify(line)}\n`)
  }
  return {
    invoke: (actor, operation) => write(actor, 'invoke', operation),
    complete: write,
    async close() {
      stream.end()
      await once(stream, 'close')
    },
  }
}

/**
 * Gives an instance the state of sequences and reads it back. setval with is_called = true would also set what currval()
 * answers, so that a sequence is put before its next value instead: (last + increment, not called).
 */

import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages } from '#net/pgwire/backend-parse.js'
import type { SequenceState } from '#postgres/contract.js'
import { type Embedded, queryMessage } from '#postgres/embedded.js'

interface Shape {
  readonly increment: bigint
  readonly min: bigint
  readonly max: bigint
}

export class Sequences {
  readonly #embedded: Embedded
  readonly #shapes = new Map<number, Shape>()
  /** 'value called' of every sequence as it was last left; none: never used. */
  readonly #left = new Map<number, string>()

  constructor(embedded: Embedded) {
    this.#embedded = embedded
  }

  /** After DDL. */
  forget(): void {
    this.#shapes.clear()
  }

  /** What `session` has got from nextval, the last one for lastval(); then the current state of `sequences`. */
  set(session: readonly SequenceState[], sequences: readonly SequenceState[]): void {
    this.#learn(sequences)
    const calls: string[] = []
    for (const { oid, lastValue } of session) {
      calls.push(`setval(${oid}, ${lastValue}, false)`, `nextval(${oid})`)
    }
    for (const state of sequences) {
      const put = this.#positioned(state)
      calls.push(`setval(${state.oid}, ${put.lastValue}, ${put.isCalled})`)
    }
    if (calls.length > 0) this.#embedded.run(`SELECT ${calls.join('; SELECT ')}`)
  }

  read(sequences: readonly SequenceState[]): SequenceState[] {
    if (sequences.length === 0) return []
    const rows = this.#embedded.column(
      sequences
        .map(({ oid }) => `SELECT last_value || ' ' || is_called FROM pg_get_sequence_data(${oid})`)
        .join('; '),
    )
    return sequences.map((before, i) => {
      const [value = '0', called = 'f'] = (rows[i] ?? '').split(' ')
      const after = { oid: before.oid, lastValue: BigInt(value), isCalled: called.startsWith('t') }
      const put = this.#positioned(before)
      const untouched = after.lastValue === put.lastValue && after.isCalled === put.isCalled
      return untouched ? before : after
    })
  }

  /**
   * After the rollback, which sequences do not take part in: those that moved without having been given. lastval() fails
   * cheaply if nextval was never called.
   */
  moved(given: readonly SequenceState[], certain: boolean): number[] {
    if (!certain && !answers(this.#embedded.exchange(queryMessage('SELECT lastval()')))) return []
    const rows = this.#embedded.column(
      `SELECT concat_ws(' ', seqrelid::int8, d.last_value, d.is_called)
         FROM pg_sequence, pg_get_sequence_data(seqrelid) d WHERE d.is_called`,
    )
    const out: number[] = []
    for (const row of rows) {
      const [oid = '', ...state] = (row ?? '').split(' ')
      const text = state.join(' ')
      if (this.#left.get(Number(oid)) === text) continue
      this.#left.set(Number(oid), text)
      if (!given.some((sequence) => sequence.oid === Number(oid))) out.push(Number(oid))
    }
    return out
  }

  #positioned(state: SequenceState): SequenceState {
    const shape = this.#shapes.get(state.oid)
    if (!state.isCalled || shape === undefined) return state
    const next = state.lastValue + shape.increment
    // At its end a sequence can only be given as it is.
    return next > shape.max || next < shape.min
      ? state
      : { oid: state.oid, lastValue: next, isCalled: false }
  }

  #learn(sequences: readonly SequenceState[]): void {
    const unknown = sequences.filter(({ oid }) => !this.#shapes.has(oid)).map(({ oid }) => oid)
    if (unknown.length === 0) return
    const rows = this.#embedded.column(
      `SELECT seqrelid::int8 || ' ' || seqincrement || ' ' || seqmin || ' ' || seqmax FROM pg_sequence WHERE seqrelid IN (${unknown.join(', ')})`,
    )
    for (const row of rows) {
      const [oid = '0', increment = '1', min = '1', max = '1'] = (row ?? '').split(' ')
      this.#shapes.set(Number(oid), {
        increment: BigInt(increment),
        min: BigInt(min),
        max: BigInt(max),
      })
    }
  }
}

function answers(bytes: Uint8Array): boolean {
  const messages = new BackendMessages(bytes)
  while (messages.next()) if (messages.type === BackendType.errorResponse) return false
  return true
}

/**
 * Slots: the holes of a compiled plan. A slot is a column-free expression; its value is known when the statement is
 * bound: constants at plan time, parameters by the value codecs, anything else by PostgreSQL, once per execution.
 */
import type { Datum } from '#engine/columnar/column.js'
import { type Expression, toSql } from '#nodes/proxy/plan/expression.js'

export interface Slot {
  readonly sql: string
  /** Set when the slot is `$n` itself. */
  readonly parameterIndex: number | undefined
  /** pg_type.typname of the value (of its elements, for an array). */
  readonly typeName: string
  readonly array: boolean
  /** Known at plan time. */
  readonly constant: { readonly datum: Datum } | undefined
}

/** Values of a plan's slots, by slot number, in PostgreSQL's binary send format. */
export type SlotValues = readonly Datum[]

export class SlotCollector {
  readonly #expressions: Expression[] = []
  readonly #bySql = new Map<string, number>()

  /** @returns the slot's number; equal expressions share one. */
  add(expression: Expression): number {
    const sql = toSql(expression)
    const known = this.#bySql.get(sql)
    if (known !== undefined) return known
    this.#expressions.push(expression)
    this.#bySql.set(sql, this.#expressions.length - 1)
    return this.#expressions.length - 1
  }

  get expressions(): readonly Expression[] {
    return this.#expressions
  }

  /** Forgets slots added since `length`, when the attempt that needed them was given up. */
  get length(): number {
    return this.#expressions.length
  }

  truncate(length: number): void {
    for (const expression of this.#expressions.splice(length)) this.#bySql.delete(toSql(expression))
  }
}

/**
 * Elements of an array in PostgreSQL's binary form (arrayfuncs.c, array_send): int32 dimensions, int32 hasNull,
 * int32 element type, per dimension int32 length and int32 lower bound, then per element int32 length (-1: NULL), bytes.
 */
export function arrayElements(datum: Uint8Array): readonly Datum[] {
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  const dimensions = view.getInt32(0)
  let count = dimensions === 0 ? 0 : 1
  for (let i = 0; i < dimensions; i += 1) count *= view.getInt32(12 + i * 8)
  const elements: Datum[] = []
  let at = 12 + dimensions * 8
  for (let i = 0; i < count; i += 1) {
    const length = view.getInt32(at)
    at += 4
    elements.push(length < 0 ? null : datum.subarray(at, at + length))
    if (length > 0) at += length
  }
  return elements
}

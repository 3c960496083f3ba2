/** Pieces of SQL whose values become literals or parameters when the statement is written. */
import fc from 'fast-check'
import type { Parameter } from './session.js'
import { quote, types, type ValueType, vectorBinary } from './values.js'

export interface Writer {
  /** A literal, or $n with the parameter kept. */
  value(hole: Hole): string
}

export type Fragment = (writer: Writer) => string

export interface Hole {
  readonly castName: string
  readonly oid: number
  readonly value: string | null
  readonly bytes: Uint8Array | undefined
  /** bare: a literal without a cast, as people write numbers. */
  readonly as: 'literal' | 'bare' | 'text' | 'binary'
}

export function write(fragment: Fragment): {
  readonly sql: string
  readonly parameters: readonly Parameter[]
} {
  const parameters: Parameter[] = []
  const sql = fragment({
    value({ castName, oid, value, bytes, as }) {
      if (as === 'bare' && value !== null && /^-?\d+(\.\d+)?$/.test(value)) return value
      if (as === 'literal' || as === 'bare') return `${quote(value)}::${castName}`
      parameters.push({
        typeOid: oid,
        value: as === 'binary' && value !== null ? (bytes ?? value) : value,
      })
      return `$${parameters.length}`
    },
  })
  return { sql, parameters }
}

export function valueArb(type: ValueType): fc.Arbitrary<Fragment> {
  return fc
    .record({
      value: fc.oneof(
        { weight: 12, arbitrary: fc.constantFrom(...type.values) },
        { weight: 1, arbitrary: fc.constant(null) },
      ),
      as: fc.constantFrom('literal', 'bare', 'text', 'binary'),
    })
    .map(({ value, as }): Fragment => {
      const bytes = value === null ? undefined : type.toBinary?.(value)
      const mayBeBare = type.group === 'number'
      const hole: Hole = {
        castName: type.castName,
        oid: type.oid,
        value,
        bytes,
        as: as === 'bare' && !mayBeBare ? 'literal' : as,
      }
      return (writer) => writer.value(hole)
    })
}

/** A value of the type itself or of another that PostgreSQL compares it with. */
export function comparableArb(type: ValueType): fc.Arbitrary<Fragment> {
  const others = types.filter((other) => comparable(type, other))
  return fc.oneof(
    { weight: 3, arbitrary: valueArb(type) },
    { weight: 1, arbitrary: fc.constantFrom(...others, type).chain(valueArb) },
  )
}

export function comparable(type: ValueType, other: ValueType): boolean {
  if (type.group === 'number') return other.group === 'number'
  if (type.group === 'time') return other.group === 'time'
  if (type.group === 'text') return other.group === 'text'
  return type.castName === other.castName
}

const small = fc.integer({ min: -2, max: 2 }).map(String)

const component = fc.oneof(
  small,
  fc.integer({ min: -999, max: 999 }).map((value) => String(value / 100)),
  fc.constantFrom('0', '1e30', '-1e-30', '3e38'),
)

/** The server takes the type from the cast around $n: vector has another OID on every server. */
const inferred = 0

/** A query vector; rarely of the wrong dimension, rarely NULL. */
export function vectorArb({
  dimensions,
  exact,
}: {
  readonly dimensions: number
  readonly exact: boolean
}): fc.Arbitrary<Fragment> {
  const one = exact ? small : component
  const right = fc.array(one, { minLength: dimensions, maxLength: dimensions })
  const wrong = fc.array(one, { minLength: dimensions + 1, maxLength: dimensions + 1 })
  const text = fc
    .oneof({ weight: 60, arbitrary: right }, { weight: 1, arbitrary: wrong })
    .map((components) => `[${components.join(',')}]`)
  return fc
    .record({
      value: fc.oneof({ weight: 40, arbitrary: text }, { weight: 1, arbitrary: fc.constant(null) }),
      as: fc.constantFrom('literal', 'text', 'binary'),
    })
    .map(({ value, as }): Fragment => {
      return (writer) => {
        // The type's OID differs from server to server: the cast says what $n is.
        if (as === 'literal' || value === null) return `${quote(value)}::vector`
        const bytes = as === 'binary' ? vectorBinary(value) : undefined
        const hole: Hole = { castName: 'vector', oid: inferred, value, bytes, as }
        return `${writer.value(hole)}::vector`
      }
    })
}

/** What a method threw, on its way to the caller: classes that callers tell apart keep what they decide by. */
import {
  DatabaseError,
  type ErrorFields,
  InvariantError,
  StoreError,
  UnreachableError,
} from '#base/errors.js'
import { decodeValue, encodeValue } from '#net/rpc/value-codec.js'

type Outcome = 'determinate' | 'indeterminate'

type Thrown =
  | {
      readonly kind: 'database'
      readonly sqlState: string
      readonly message: string
      readonly fields: ErrorFields
    }
  | {
      readonly kind: 'store'
      readonly outcome: Outcome
      readonly message: string
      readonly reason?: 'full' | 'unreachable'
    }
  | { readonly kind: 'unreachable'; readonly outcome: Outcome; readonly message: string }
  | { readonly kind: 'invariant'; readonly name: string; readonly message: string }
  | { readonly kind: 'other'; readonly message: string }

export function encodeError(error: unknown): Uint8Array {
  return encodeValue(describe(error))
}

function describe(error: unknown): Thrown {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof DatabaseError) {
    // The cause stays here, in this node's log.
    const { cause: _, ...fields } = error.fields
    return { kind: 'database', sqlState: error.sqlState, message, fields }
  }
  if (error instanceof StoreError) {
    const { outcome, reason } = error
    return { kind: 'store', outcome, message, ...(reason === undefined ? {} : { reason }) }
  }
  if (error instanceof UnreachableError) {
    return { kind: 'unreachable', outcome: error.outcome, message }
  }
  if (error instanceof InvariantError) {
    const name = error.invariantName
    return { kind: 'invariant', name, message: message.slice(name.length + 2) }
  }
  return { kind: 'other', message }
}

export function decodeError(bytes: Uint8Array): Error {
  const thrown = decodeValue(bytes) as Thrown
  switch (thrown.kind) {
    case 'database':
      return new DatabaseError(thrown.sqlState, thrown.message, thrown.fields)
    case 'store':
      return new StoreError(thrown.outcome, thrown.message, undefined, thrown.reason)
    case 'unreachable':
      return new UnreachableError(thrown.outcome, thrown.message)
    case 'invariant':
      return new InvariantError(thrown.name, thrown.message)
    case 'other':
      return new Error(thrown.message)
  }
}

/** Why a commit cannot be appended now; undefined where it can. */
import type { DatabaseError } from '#base/errors.js'

export type CommitVerdict =
  | { readonly kind: 'wait'; readonly on: Promise<void> }
  /** What was looked up is out of date. */
  | { readonly kind: 'again' }
  | { readonly kind: 'error'; readonly error: DatabaseError }

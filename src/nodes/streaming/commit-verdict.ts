/** Why a commit cannot be appended now; undefined where it can. */

import type { DatabaseError } from '#base/errors.js'
import type { PendingCommit } from '#nodes/streaming/commit-queue.js'

export type CommitVerdict =
  | { readonly kind: 'wait'; readonly on: PendingCommit }
  /** What was looked up is out of date. */
  | { readonly kind: 'again' }
  | { readonly kind: 'error'; readonly error: DatabaseError }

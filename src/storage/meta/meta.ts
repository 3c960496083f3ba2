/**
 * The meta store port: a small, strongly consistent, durable, ordered map (etcd, or embedded). Every adapter passes
 * meta.conformance.ts.
 *
 * - Durable: what write has acknowledged survives SIGKILL and loss of power.
 * - META-1: every change has a revision above all earlier ones of the whole store; none comes back, also not after deletes and
 *   restarts. A write that changes nothing because of a condition has none.
 * - META-2, atomic: a write is seen whole or not at all, by get, list and watch.
 * - Linearizable: what is acknowledged is seen by every get and list that begins later, in whichever process.
 * - Deciding: of writes whose conditions exclude each other one succeeds.
 * - Failing: StoreError says whether a write may have happened. After 'indeterminate' read, then try again under a condition.
 *   Failed reads are 'determinate'.
 * - Leases: a key that was last put with a lease is deleted when the lease ends, as a change like another; put again without
 *   one it stays. With a lease that has ended nothing is put, 'determinate'. Leases tell who is there; they fence nobody.
 *
 * Keys are 1 to 1024 bytes of UTF-8, values at most 1 MiB, a key is changed once per write (check-write.ts); what is beyond is
 * refused, 'determinate'. Values are copied on the way in and out. After close everything fails and watches end.
 */
export interface MetaEntry {
  readonly key: string
  readonly value: Uint8Array
  /** Of the last change of this key; 0 never occurs for an existing key. */
  readonly revision: number
}

export type MetaCondition = {
  readonly key: string
  /** 0: the key must not exist. */
  readonly revision: number
}

export type MetaOperation =
  | {
      readonly kind: 'put'
      readonly key: string
      readonly value: Uint8Array
      /** Id of a lease: the key goes when it ends. */
      readonly lease?: string
    }
  | { readonly kind: 'delete'; readonly key: string }

export type MetaOutcome =
  | { readonly kind: 'done'; readonly revision: number }
  /** A condition did not hold; nothing was changed. */
  | { readonly kind: 'conflict' }

/** Keys put with it go when it ends: who lets it end is taken for dead. */
export interface MetaLease {
  readonly id: string
  /** Starts its time anew. @returns false when it has ended. @throws StoreError: nobody knows, ask again */
  keepAlive(): Promise<boolean>
  /** Ends it now. Idempotent. */
  revoke(): Promise<void>
}

export interface MetaStore {
  get(key: string): Promise<MetaEntry | undefined>
  /** Keys starting with prefix, in byte order. */
  list(prefix: string): Promise<readonly MetaEntry[]>
  /** All conditions hold → all operations happen. @throws StoreError, determinate when a lease that is named has ended */
  write(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
  ): Promise<MetaOutcome>
  /**
   * Changes of keys with the prefix, in order of their revisions, none left out, until the signal aborts: from the call on
   * (not from the first read) those of this handle, those of others from some moment soon after. A slow reader holds
   * nobody up.
   */
  watch(
    prefix: string,
    signal: AbortSignal,
  ): AsyncIterable<MetaEntry | { readonly key: string; readonly deleted: true }>
  /**
   * A lease that ends when it was not kept alive for `ttlMs` (a store may round up to seconds; an embedded one, whose only user
   * is this process, may let it live as long as the process).
   */
  grantLease(ttlMs: number): Promise<MetaLease>
  close(): Promise<void>
}

/**
 * The meta store port: a small, strongly consistent, durable, ordered map (etcd, or embedded).
 * Every write is durable when it resolves and atomic over all its operations. Reads are linearizable: they see every write that
 * was answered before they were called, whoever asked.
 */
export interface MetaEntry {
  readonly key: string
  readonly value: Uint8Array
  /** Rises with every change of this key; 0 never occurs for an existing key. */
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
  /** Changes of keys with the prefix, in order, from now on, until the signal aborts. */
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

/**
 * The meta store port: a small, strongly consistent, durable, ordered map (etcd, or embedded).
 * Every write is durable when it resolves and atomic over all its operations.
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
      readonly lease?: string
    }
  | { readonly kind: 'delete'; readonly key: string }

export type MetaOutcome =
  | { readonly kind: 'done'; readonly revision: number }
  /** A condition did not hold; nothing was changed. */
  | { readonly kind: 'conflict' }

export interface MetaStore {
  get(key: string): Promise<MetaEntry | undefined>
  /** Keys starting with prefix, in byte order. */
  list(prefix: string): Promise<readonly MetaEntry[]>
  /** All conditions hold → all operations happen. @throws StoreError */
  write(
    conditions: readonly MetaCondition[],
    operations: readonly MetaOperation[],
  ): Promise<MetaOutcome>
  /** Changes of keys with the prefix, in order, from now on, until the signal aborts. */
  watch(
    prefix: string,
    signal: AbortSignal,
  ): AsyncIterable<MetaEntry | { readonly key: string; readonly deleted: true }>
  close(): Promise<void>
}

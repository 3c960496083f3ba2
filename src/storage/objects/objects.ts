/**
 * The object store port (S3, or a directory): named byte strings. Every adapter passes objects.conformance.ts.
 *
 * - OBJ-2, atomic and durable: when put or putFile resolves the object survives loss of power; a reader sees the whole object
 *   or none, before or after, never a mixture. Of concurrent puts of a name one stands; with `ifAbsent` one is 'stored'.
 * - What is acknowledged is seen by every get and list that begins later, in whichever process.
 * - Failing: StoreError says whether it may have happened. Puts of the same bytes and deletes may be tried again. Failed reads,
 *   and a putFile whose file is missing, are 'determinate'.
 * - A list has every name that is there from its beginning to its end, once; what comes or goes meanwhile may be in it.
 * - Who has a local path open or mapped keeps those bytes when the object is replaced or deleted.
 *
 * Names are parts separated by '/', see object-name.ts; others are refused. A name must not be a folder of another
 * name. Bytes are copied on the way in and out. After close everything fails, 'determinate', and what was under way is done.
 */
export interface ObjectStore {
  /** @throws StoreError; when `ifAbsent` and the object exists returns 'exists'. */
  put(
    name: string,
    bytes: Uint8Array,
    options?: { readonly ifAbsent?: boolean },
  ): Promise<'stored' | 'exists'>
  /** Stores the content of a local file (index files are written by native code). The file may be moved away. */
  putFile(name: string, path: string): Promise<void>
  /** undefined when there is no such object. */
  get(name: string): Promise<Uint8Array | undefined>
  getRange(name: string, offset: number, length: number): Promise<Uint8Array | undefined>
  /**
   * A local path holding the object's bytes, to be mapped; the caller must not change it. A directory adapter gives its
   * own file, others a copy in the local cache. undefined when there is no such object.
   */
  localPath(name: string): Promise<string | undefined>
  /** Names with the prefix in byte order, with sizes in bytes. */
  list(prefix: string): AsyncIterable<{ readonly name: string; readonly size: number }>
  /** Idempotent. */
  delete(name: string): Promise<void>
  close(): Promise<void>
}

/** A store that has no files of its own: a cache of copies gives local paths (cached-objects.ts). */
export type RemoteObjects = Omit<ObjectStore, 'localPath'>

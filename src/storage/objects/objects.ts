/**
 * The object store port (S3, or a directory): immutable named byte strings. Names are '/'-separated.
 * put is atomic and durable when it resolves: a reader sees the whole object or none.
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

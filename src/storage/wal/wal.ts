/**
 * The write-ahead log port: the truth of the database. Every adapter passes wal.conformance.ts.
 *
 * A log channel is an ordered sequence of records with rising positions (not necessarily dense). Several tables'
 * channels share one log channel.
 *
 * - WAL-1, durable: when append resolves, the records survive SIGKILL of the process and loss of power (embedded: fsync;
 *   Kafka: acks=all). What a read has shown is durable too: nothing that was seen goes away but by truncate.
 * - WAL-2, atomic: the records of one append are read back all or none.
 * - Ordered: concurrent appends of one writer get positions in call order.
 * - WAL-3, fenced: one writer per log channel at a time, in whichever process. openWriter gives a term above all that were
 *   given before, also to writers that never appended, also across restarts; from when it resolves, every append of an
 *   earlier term fails, 'determinate', and what earlier ones had under way is in the log or will never be.
 * - Failing: a failed append says whether it may have happened (StoreError.outcome). After 'indeterminate' the writer takes
 *   no more: open a new one, and find by reading what was appended. The same holds for openWriter (a term may be used up)
 *   and truncate (try again). Failed reads are 'determinate': nothing was changed.
 * - Forgetting: truncate is for good, and takes nothing at or above `before`, nor from readers under way what is there.
 *   Positions go on, also when nothing is left.
 *
 * Payloads handed to append are not changed until it resolves. Names of log channels are any text up to 255 bytes when
 * URL-encoded; they do not know each other. After close everything fails, 'determinate'.
 */
export type LogPosition = number

export interface LogRecord {
  readonly position: LogPosition
  readonly payload: Uint8Array
}

export interface WalWriter {
  readonly term: number
  /** Position of each record, in order. @throws StoreError */
  append(payloads: readonly Uint8Array[]): Promise<readonly LogPosition[]>
  close(): Promise<void>
}

export interface Wal {
  /** Creates the log channel if needed and fences earlier writers. @throws StoreError */
  openWriter(logChannel: string): Promise<WalWriter>
  /**
   * Records with position >= from (or the first that is not forgotten), in order, in batches of whole appends that bound
   * memory; ends at the end of the log as it was when reading began: all that was acknowledged is in it.
   */
  read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]>
  /** Position that the next append will be at or after. 0 for an empty log. */
  endPosition(logChannel: string): Promise<LogPosition>
  /** Forgets records with position < before. Idempotent. */
  truncate(logChannel: string, before: LogPosition): Promise<void>
  close(): Promise<void>
}

/**
 * The write-ahead log port: the truth of the database.
 *
 * A log channel is an ordered sequence of records with rising positions (not necessarily dense). Several tables'
 * channels share one log channel. Durable: when append resolves, the records survive SIGKILL of the process and loss
 * of power (embedded: fsync; Kafka: acks=all). Atomic: the records of one append are read back all or none.
 * Ordered: concurrent appends of one writer get positions in call order. Fenced: one writer per log channel at a
 * time; an append by a writer of an older term fails (WAL-3) with outcome 'determinate'.
 * A failed append says whether it may have happened (StoreError.outcome); after 'indeterminate' the writer must be
 * closed and reopened, and what was appended is found by reading.
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
  /** Creates the log channel if needed and fences earlier writers: the new term is higher than all before. */
  openWriter(logChannel: string): Promise<WalWriter>
  /** Records with position >= from, in order, in batches; ends at the end of the log as it was when called. */
  read(logChannel: string, from: LogPosition): AsyncIterable<readonly LogRecord[]>
  /** Position that the next append will be at or after. 0 for an empty log. */
  endPosition(logChannel: string): Promise<LogPosition>
  /** Forgets records with position < before. Idempotent. */
  truncate(logChannel: string, before: LogPosition): Promise<void>
  close(): Promise<void>
}

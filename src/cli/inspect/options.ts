export interface InspectOptions {
  /** Frames or keys printed at most. */
  readonly limit: number
  /** Rows of a segment, or of each batch in the log, printed at most. */
  readonly rows: number
  /** Log: only the record at this position. */
  readonly position: number | undefined
  /** Meta store: only keys with this prefix. */
  readonly key: string
}

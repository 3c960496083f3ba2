/** Bounds of the streaming node with their reasons; tests and the operator may give others. */
const mebibyte = 1024 * 1024

export interface StreamingLimits {
  /** A growing segment is sealed at this size: large segments search faster than many small ones. */
  readonly segmentBytesMax: number
  /** A growing segment nobody writes to is sealed after this time, */
  readonly sealIdleMs: number
  /** if it has so many rows: below, scanning it costs nothing and a file for it would be waste. */
  readonly sealIdleRowCountMin: number
  /** A growing segment is sealed when it is so old, however few rows it has: they leave log and memory. */
  readonly sealAgeMs: number
  /** The log is kept below this by flushing what holds it back: bounds the time of recovery. */
  readonly logBytesMax: number
  /** How long rows deleted stay readable for reads in the past. */
  readonly retentionMs: number
  /** Bytes of a COPY that may be under way to the log at once. */
  readonly stageBytesInFlightMax: number
  /** A channel with more sealed segments below smallSegmentBytes than this has them merged. */
  readonly smallSegmentCountMax: number
  readonly smallSegmentBytes: number
  /** Rows deleted in a sealed segment, in parts of its rows, from which it is rewritten. */
  readonly deletedPartMax: number
  /** From which VACUUM rewrites it: below, more would be copied than it is worth. */
  readonly vacuumDeletedPartMin: number
  /**
   * A prepared transaction is asked about, a decision told, when nothing was heard for so long: asking gives up what has not
   * come to its decision, and readers wait meanwhile.
   */
  readonly undecidedMs: number
  /**
   * An object that no manifest names is removed when it was seen so for so long: longer than any job takes from its first object
   * to its manifest.
   */
  readonly orphanGraceMs: number
  /** A growing segment gets a graph per vector index from this size of its vectors on: scanning less takes under a millisecond. */
  readonly interimBytesMin: number
  /** Between looks at what growing segments' graphs lack, while rows come in. */
  readonly interimIntervalMs: number
  /** Between looks at what there is to do in the background. */
  readonly backgroundIntervalMs: number
}

export const defaultStreamingLimits: StreamingLimits = {
  segmentBytesMax: 512 * mebibyte,
  sealIdleMs: 60_000,
  sealIdleRowCountMin: 20_000,
  sealAgeMs: 600_000,
  logBytesMax: 256 * mebibyte,
  retentionMs: 60_000,
  stageBytesInFlightMax: 16 * mebibyte,
  smallSegmentCountMax: 8,
  smallSegmentBytes: 64 * mebibyte,
  deletedPartMax: 0.3,
  vacuumDeletedPartMin: 0.02,
  orphanGraceMs: 6 * 3_600_000,
  interimBytesMin: 6 * mebibyte,
  interimIntervalMs: 25,
  undecidedMs: 2000,
  backgroundIntervalMs: 1000,
}

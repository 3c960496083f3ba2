/**
 * The native add-on as TypeScript sees it: the port over native/. Everything asynchronous runs on the add-on's own
 * threads and resolves on the event loop; buffers handed in are kept alive by the add-on until the promise settles
 * (or, for a segment, until it is replaced or closed) and must not be changed meanwhile, except that rows at or
 * beyond `rowCount` of a segment may be written.
 */
import { createRequire } from 'node:module'
import type { Column } from '#engine/columnar/column.js'
import type { Metric } from '#engine/columnar/schema.js'

/** A segment's columns as native code sees them. Closing twice is allowed; using a closed one throws. */
export interface NativeSegment {
  /** Adds or replaces a column. The column's buffers may be longer than rowCount (growing segments). */
  setColumn(attnum: number, column: Column): void
  /**
   * Insert and delete timestamps per row (delete: +Infinity = live); Float64Array, at least rowCount long. They may
   * change in place (a row is committed or deleted at a timestamp above every read under way) unless `stable`: then
   * every change comes as another call, and searches of segments whose rows are all visible need not look at them,
   * which is most of the cost of an index search. Say `stable` for sealed segments.
   */
  setTimestamps(inserted: Float64Array, deleted: Float64Array, stable?: boolean): void
  /**
   * Attaches a built index for a vector column; undefined detaches. It is used by searches of exactly its rowCount. A
   * segment with an index is taken for sealed: its columns change by setColumn only (bitsets of filters are kept).
   */
  setIndex(attnum: number, indexOid: number, index: NativeIndex | undefined): void
  /** Attaches a graph over the first rows of a growing segment; searches scan only the rows after. undefined detaches. */
  setInterim(attnum: number, indexOid: number, index: NativeInterimIndex | undefined): void
  close(): void
}

/** A graph over the first rows of a growing segment, extended on one of the add-on's threads while it is searched. */
export interface NativeInterimIndex {
  /** Rows taken in so far. */
  readonly rowCount: number
  readonly memoryBytes: number
  /**
   * Takes in the segment's rows up to `rowCount`, values of its column as setColumn gave them last. Not while extend() or
   * copy() is under way. Ends early, without an error, when the index is closed.
   */
  extend(segment: NativeSegment, attnum: number, rowCount: number): Promise<void>
  /** What it has, as an index of its own over exactly its rows. */
  copy(): Promise<NativeIndex>
  close(): void
}

export interface InterimOptions {
  readonly dimensions: number
  readonly metric: Metric
  readonly m: number
  readonly efConstruction: number
}

/** An HNSW graph with its repacked vectors: immutable, shared, searched by many threads at once. */
export interface NativeIndex {
  readonly rowCount: number
  readonly metric: Metric
  readonly memoryBytes: number
  /** Writes the index file (docs/formats/hnsw.md), fsynced. */
  save(path: string): Promise<void>
  close(): void
}

export interface BuildHnswOptions {
  readonly values: Float32Array
  /** Arrow validity of the vector column; NULL rows (and, for cosine, zero vectors) are not in the graph. */
  readonly validity?: Uint8Array | undefined
  readonly rowCount: number
  readonly dimensions: number
  readonly metric: Metric
  readonly m: number
  readonly efConstruction: number
  readonly threads: number
  /** Called on the event loop now and then with the number of rows done. */
  readonly onProgress?: ((rowsDone: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface SearchSegment {
  readonly segment: NativeSegment
  /** Rows 0..rowCount-1 are looked at. */
  readonly rowCount: number
  /** Extra condition, bit i set = row i may be returned (LSB first); from filters that only PostgreSQL can judge. */
  readonly allowed?: Uint8Array | undefined
}

/** The strategy per segment: 'auto' chooses by selectivity; 'exact' is what enable_indexscan = off asks for. */
export type SearchMode = 'auto' | 'exact'

export interface SearchRequest {
  readonly segments: readonly SearchSegment[]
  /** Rows with inserted <= readAt < deleted are visible. */
  readonly readAt: number
  readonly attnum: number
  readonly metric: Metric
  readonly query: Float32Array
  readonly k: number
  readonly efSearch: number
  readonly mode: SearchMode
  /** Encoded filter program (engine/plan/filter-program.ts); absent = every row. */
  readonly filter?: Uint8Array | undefined
}

export type SegmentStrategy = 'index' | 'exact' | 'empty'

export interface SearchResult {
  /** Number of hits, at most k, nearest first; ties in (segment, ordinal) order. NULL and NaN distances are not hits. */
  readonly count: number
  /** Position in request.segments of each hit. */
  readonly segments: Uint32Array
  readonly ordinals: Uint32Array
  /** Exactly what pgvector's operator returns for the pair (float accumulation in element order). */
  readonly distances: Float64Array
  /** Per segment: what was done, rows passing filter and visibility, distances computed. */
  readonly strategies: readonly SegmentStrategy[]
  readonly passing: Uint32Array
  readonly visited: Uint32Array
}

export interface FilterRequest {
  readonly segments: readonly SearchSegment[]
  readonly readAt: number
  readonly filter?: Uint8Array | undefined
}

export interface FilterResult {
  /** Per segment, bit set = visible and passing. Length ceil(rowCount / 8). */
  readonly bitsets: readonly Uint8Array[]
  readonly counts: Uint32Array
}

export interface SortKey {
  readonly attnum: number
  readonly descending: boolean
  readonly nullsFirst: boolean
  readonly as: 'native' | 'bytes' | 'numeric'
}

export interface TopRequest extends FilterRequest {
  readonly orderBy: readonly SortKey[]
  /** First `limit` rows in order, ties in (segment, ordinal) order; with no sort key: the first rows found. */
  readonly limit: number
}

export interface TopResult {
  readonly count: number
  readonly segments: Uint32Array
  readonly ordinals: Uint32Array
}

/** Aggregates over visible, passing rows of all segments; 'sum' of int64 is exact (128 bit, decimal string). */
export interface AggregateSpec {
  readonly kind: 'countStar' | 'count' | 'sum' | 'min' | 'max'
  readonly attnum: number
  readonly as: 'native' | 'bytes' | 'numeric'
}
export interface AggregateRequest extends FilterRequest {
  readonly aggregates: readonly AggregateSpec[]
}
export interface AggregateValue {
  /** Rows that went in (not NULL). */
  readonly count: number
  /** sum: decimal string for integers, number for floats (added in row order); min, max: column value; null if count is 0. */
  readonly value: string | number | bigint | Uint8Array | null
}

export interface CopyColumn {
  readonly kind: Column['kind']
  /** Type name as in pg_type: decides the text parser (native for bool, ints, floats, text-like, uuid, date, timestamp(tz), vector). */
  readonly typeName: string
  readonly typmod: number
  readonly width: number
  /** For the words of errors: 'missing data for column "x"'. */
  readonly name?: string
}

/** A block of whole rows, parsed. On the first bad row: rows before it and the error. */
export interface CopyBlock {
  readonly rowCount: number
  readonly columns: readonly Column[]
  /**
   * Per column: the column holds raw (unescaped) text as kind bytes, whatever kind was asked for, because its type, or
   * a value in this block, is not parsed natively: PostgreSQL must convert it. Only text and CSV.
   */
  readonly textual: readonly boolean[]
  /** Per column: send format that was not checked (types without a binary reader here). Only binary. */
  readonly unchecked: readonly boolean[]
  /** Lines of text consumed, for COPY's context (a CSV value may span several). 0 for binary. */
  readonly lines: number
  /** Bytes of the input consumed (whole rows only). */
  readonly consumed: number
  /** True when the end-of-data marker (\. or the binary trailer) was consumed. */
  readonly ended: boolean
  readonly error?:
    | {
        /** Of this block, from 0. */
        readonly row: number
        /** Position in the column list; its length when the row as a whole is wrong. */
        readonly column: number
        readonly sqlState: string
        readonly message: string
        readonly detail?: string
        readonly hint?: string
      }
    | undefined
}

export interface CopyTextOptions {
  readonly format: 'text' | 'csv'
  readonly delimiter: string
  readonly nullString: string
  readonly quote: string
  readonly escape: string
  /** The session's time zone is UTC: timestamptz without an offset is parsed natively. */
  readonly utc?: boolean
  /** Stop after so many rows (1 for a header line). */
  readonly rowCountMax?: number
}

/** A column of a result: format 0 text, 1 binary (send format). */
export type ResultColumn = Column & { readonly typeName: string; readonly format: 0 | 1 }

export interface Native {
  /** Instruction set chosen at run time: 'baseline' | 'avx2' | 'avx512'. ELANUS_SIMD forces a lower one. */
  readonly simd: string
  createSegment(): NativeSegment
  createInterim(options: InterimOptions): NativeInterimIndex
  buildHnsw(options: BuildHnswOptions): Promise<NativeIndex>
  /**
   * Maps the file. All of it is read and compared with its checksums, unless `verify` is false: then pages are read when
   * they are touched. @throws when version or a checksum is wrong (XX001)
   */
  loadHnsw(path: string, verify?: boolean): Promise<NativeIndex>
  search(request: SearchRequest): Promise<SearchResult>
  filter(request: FilterRequest): Promise<FilterResult>
  top(request: TopRequest): Promise<TopResult>
  aggregate(request: AggregateRequest): Promise<readonly AggregateValue[]>
  /** One distance, as pgvector computes it. NaN for cosine with a zero vector. @throws 22000 on different lengths. */
  distance(metric: Metric, a: Float32Array, b: Float32Array): number
  /** Maps a file read-only: the ArrayBuffer lives until collected. */
  mapFile(path: string): ArrayBuffer
  /**
   * The pages of a mapped file that are in memory are given back; they come again when they are read. Other buffers are left
   * alone.
   */
  releasePages(buffer: ArrayBuffer): void
  /** '[1,2.5,-3]' → floats. @throws {code: sqlState, message} with pgvector's words (22P02, 22000, 22003). */
  parseVector(text: Uint8Array, dimensions: number): Float32Array
  /** Characters from..to of the text, so many floats, to values[at…]. Throws as parseVector; what it has written then is nothing. */
  parseVectorInto(
    text: Uint8Array,
    from: number,
    to: number,
    dimensions: number,
    values: Float32Array,
    at: number,
  ): void
  /** Floats → pgvector's text form, PostgreSQL's shortest float4 digits. */
  formatVector(values: Float32Array): string
  parseFloat4(text: string): number
  formatFloat4(value: number): string
  formatFloat8(value: number): string
  /** `input` starts at a row (binary: after the file header); may end inside a row. */
  parseCopyBinary(
    input: Uint8Array,
    columns: readonly CopyColumn[],
    /** Nothing follows: a row cut off is 22P04. */
    final?: boolean,
  ): Promise<CopyBlock>
  parseCopyText(
    input: Uint8Array,
    columns: readonly CopyColumn[],
    options: CopyTextOptions,
    final: boolean,
  ): Promise<CopyBlock>
  /** Rows as COPY BINARY tuples (no header, no trailer). rows: ordinals, or undefined for all. */
  encodeCopyBinary(
    columns: readonly (Column & { readonly typeName: string })[],
    rowCount: number,
    rows?: Uint32Array,
  ): Uint8Array
  /**
   * Whole DataRow messages of result rows. Text is what PostgreSQL prints with DateStyle ISO, extra_float_digits 1,
   * bytea_output hex and TimeZone UTC: ask formatsText and the session's settings first.
   * @throws 0A000 for a text column of a type without native output; 54000 when the messages exceed 2 GB.
   */
  encodeDataRows(columns: readonly ResultColumn[], rowCount: number, rows?: Uint32Array): Uint8Array
  /** Lines of COPY TO text or csv, under the same settings. */
  encodeCopyText(
    columns: readonly (Column & { readonly typeName: string })[],
    rowCount: number,
    options: CopyTextOptions,
    rows?: Uint32Array,
  ): Uint8Array
  /** Whether text output of the type is native. */
  formatsText(typeName: string): boolean
}

const require = createRequire(import.meta.url)
/** The add-on, built by `npm run build:native` into build/. */
export const native: Native = require('../../../build/elanus.node') as Native

/**
 * A growing segment: append-only columns in memory, readable while they grow.
 *
 *   rows      ordinals 0..rowCount-1, ascending row ids; columns in doubling buffers (columnar/column-builder.ts)
 *   inserted  commit timestamp per row, +Infinity until it commits (for ever, if it never does)
 *   deleted   +Infinity while live
 *   pending   ranges of ordinals that belong to a stage which has neither committed nor been given up
 *
 * Concurrency: everything here is synchronous. Readers hold views (readable-segment.ts) taken at one moment; buffers that
 * are outgrown are replaced, not changed, and the native handle is told. Rows below a view's rowCount change only in their
 * timestamps, to values above every read served before.
 */

import { invariant } from '#base/errors.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import { batchByteLength } from '#engine/columnar/batch.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { type ColumnBuilder, createColumnBuilder } from '#engine/columnar/column-builder.js'
import type { ColumnSchema, TableSchema } from '#engine/columnar/schema.js'
import type { NativeSegment } from '#engine/index/native.js'
import { goneColumn } from '#engine/segment/gone-column.js'
import { GrowingInterim } from '#engine/segment/growing-interim.js'
import { GrowingTimestamps } from '#engine/segment/growing-timestamps.js'
import { KeyIndex } from '#engine/segment/key-index.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

interface PendingRange {
  readonly from: number
  to: number
  readonly stageId: number
}

interface GrowingColumn {
  readonly schema: ColumnSchema
  readonly builder: ColumnBuilder
  /** What the native handle was given last. */
  nativeGeneration: number
}

export interface GrowingOptions {
  readonly segmentId: number
  readonly shard: number
  readonly schema: TableSchema
  readonly native: NativeSegment
}

export class GrowingSegment {
  readonly segmentId: number
  readonly shard: number
  readonly incarnation: number
  /** Newest version of the table that its columns serve. Columns and kinds stay, keys may come and go. */
  schema: TableSchema
  /** No rows are appended any more. */
  closed = false
  /** Log position at or before that of every row in here. */
  firstPosition = Number.POSITIVE_INFINITY
  /** Monotonic milliseconds of the last append, for the seal policy; whoever appends sets it. */
  lastAppendMs = 0
  /** Monotonic milliseconds when it began, for the seal policy; whoever makes it sets it. */
  openedMs = 0
  /**
   * The newest version of a key need not be the one that committed last: rows of stages have been here, or a key was added
   * over rows that came before it.
   */
  versionsMixed = false
  /** Graphs over its first rows. */
  readonly interim = new GrowingInterim()
  readonly native: NativeSegment
  readonly #columns = new Map<number, GrowingColumn>()
  readonly #keys = new Map<number, KeyIndex>()
  readonly #times: GrowingTimestamps
  /** Columns that the table won after this segment was made. */
  readonly #constants = new Map<number, Column>()
  /** Those that the native handle has been told of: others were only read. */
  readonly #nativeConstants = new Map<number, Column>()
  #pending: PendingRange[] = []
  /** Stages that may have several ranges: those that came back after another. */
  readonly #manyRanges = new Set<number>()
  #lastStageId = -1
  #byteLength = 0
  #deletedCount = 0
  #committedCount = 0
  #minInserted: Timestamp = timestampMax

  constructor(options: GrowingOptions) {
    this.segmentId = options.segmentId
    this.shard = options.shard
    this.schema = options.schema
    this.incarnation = options.schema.incarnation
    this.native = options.native
    this.#times = new GrowingTimestamps(options.native)
    for (const schema of options.schema.columns) {
      const builder = createColumnBuilder(schema.kind, schema.width)
      this.#columns.set(schema.attnum, { schema, builder, nativeGeneration: -1 })
    }
    this.putKeys(options.schema)
  }

  get rowCount(): number {
    return this.#times.rowCount
  }
  /** Rows committed so far, deleted ones too. */
  get committedCount(): number {
    return this.#committedCount
  }
  get deletedCount(): number {
    return this.#deletedCount
  }
  /** Bytes of the rows' values. */
  get byteLength(): number {
    return this.#byteLength
  }
  get hasPending(): boolean {
    return this.#pending.length > 0
  }
  /** First so many rows have committed or never will. */
  get settledCount(): number {
    return this.#pending[0]?.from ?? this.rowCount
  }
  /** Earliest commit in here; +Infinity: nothing visible to anyone. */
  get minInserted(): Timestamp {
    return this.#minInserted
  }

  /** True if rows of this version of the table can be appended here. */
  accepts(schema: TableSchema): boolean {
    if (this.closed || schema.incarnation !== this.incarnation) return false
    if (schema.columns.length !== this.#columns.size) return false
    return schema.columns.every((column) => {
      const own = this.#columns.get(column.attnum)?.schema
      return own !== undefined && own.kind === column.kind && own.width === column.width
    })
  }

  /** Takes over keys (and names) of a newer version; new keys are indexed at once. */
  putKeys(schema: TableSchema): void {
    this.schema = schema
    const wanted = new Set(schema.keys.map((key) => key.indexOid))
    for (const indexOid of this.#keys.keys()) if (!wanted.has(indexOid)) this.#keys.delete(indexOid)
    this.interim.keepOnly(this, schema.vectorIndexes)
    for (const key of schema.keys) {
      if (this.#keys.has(key.indexOid)) continue
      if (this.rowCount > 0) this.versionsMixed = true
      const columns = key.attnums.map((attnum) => columnSchema(schema, attnum))
      this.#keys.set(key.indexOid, new KeyIndex(columns, key.nullsNotDistinct))
    }
    this.#extendKeys()
  }

  /**
   * Appends rows from..to of the batch, pending for the stage.
   * @param attnums of batch.columns @param baseRowId row id of row `from`
   * @returns first ordinal
   */
  append(
    batch: ColumnBatch,
    attnums: readonly number[],
    baseRowId: number,
    stageId: number,
    from = 0,
    to = batch.rowCount,
  ): number {
    invariant('SEG-5', !this.closed, 'append to a closed segment')
    const first = this.rowCount
    const count = to - from
    if (count === 0) return first
    for (const { schema, builder } of this.#columns.values()) {
      const position = attnums.indexOf(schema.attnum)
      const column = position < 0 ? undefined : batch.columns[position]
      if (column !== undefined) builder.appendColumn(column, from, to)
      else for (let i = 0; i < count; i += 1) builder.appendDatum(schema.missing)
    }
    this.#times.append(baseRowId, count)
    const share = batch.rowCount === 0 ? 0 : count / batch.rowCount
    this.#byteLength += batchByteLength(batch) * share + 24 * count
    this.#extendKeys()
    this.#addPending(first, first + count, stageId)
    return first
  }

  #addPending(from: number, to: number, stageId: number): void {
    const last = this.#pending.at(-1)
    if (last !== undefined && last.stageId === stageId && last.to === from) {
      last.to = to
      return
    }
    // Only the open COPYs and this transaction's own batches can have a range already.
    if (this.#lastStageId >= stageId) this.#manyRanges.add(stageId)
    else this.#lastStageId = stageId
    this.#pending.push({ from, to, stageId })
  }

  /** The stage's rows become visible at the timestamp. @returns how many */
  commitStage(stageId: number, at: Timestamp): number {
    let count = 0
    for (const range of this.#takePending(stageId)) {
      this.#times.inserted.fill(at, range.from, range.to)
      count += range.to - range.from
    }
    if (count > 0 && at < this.#minInserted) this.#minInserted = at
    this.#committedCount += count
    return count
  }

  /** The stage's rows will never be visible. */
  abortStage(stageId: number): void {
    this.#takePending(stageId)
  }

  #takePending(stageId: number): readonly PendingRange[] {
    // The usual case apart: commits come in the order of their rows, and have one range.
    const [first] = this.#pending
    if (first?.stageId === stageId && !this.#manyRanges.has(stageId)) {
      this.#pending.shift()
      return [first]
    }
    const taken = this.#pending.filter((range) => range.stageId === stageId)
    if (taken.length > 0) {
      this.#pending = this.#pending.filter((range) => range.stageId !== stageId)
    }
    this.#manyRanges.delete(stageId)
    return taken
  }

  /** The stage that an uncommitted row waits for; undefined when it will never commit. */
  pendingStage(ordinal: number): number | undefined {
    let low = 0
    let high = this.#pending.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const range = this.#pending[middle]
      if (range === undefined) break
      if (ordinal < range.from) high = middle - 1
      else if (ordinal >= range.to) low = middle + 1
      else return range.stageId
    }
    return undefined
  }

  /** Ordinal of the row id, or -1. */
  locate(rowId: number): number {
    return this.#times.locate(rowId)
  }
  rowIdAt(ordinal: number): number {
    return this.#times.rowIds[ordinal] ?? Number.NaN
  }
  insertedAt(ordinal: number): number {
    return this.#times.inserted[ordinal] ?? Number.NaN
  }
  deletedAt(ordinal: number): number {
    return this.#times.deleted[ordinal] ?? Number.NaN
  }
  get firstRowId(): number {
    return this.#times.rowIds[0] ?? Number.NaN
  }
  get lastRowId(): number {
    return this.rowCount === 0 ? Number.NaN : this.rowIdAt(this.rowCount - 1)
  }

  /** Marks a committed, live row deleted. @returns false if it is not one (replay of what was done already). */
  deleteRow(ordinal: number, at: Timestamp): boolean {
    const { inserted, deleted } = this.#times
    if ((inserted[ordinal] ?? timestampMax) > at || deleted[ordinal] !== timestampMax) return false
    deleted[ordinal] = at
    this.#deletedCount += 1
    return true
  }

  /** Deletes every row committed before `at`. */
  truncate(at: Timestamp): void {
    for (let ordinal = 0; ordinal < this.rowCount; ordinal += 1) this.deleteRow(ordinal, at)
  }

  key(indexOid: number): KeyIndex | undefined {
    return this.#keys.get(indexOid)
  }

  /** The key's columns in the key's order, as they are now. */
  keyColumns(index: KeyIndex): readonly Column[] {
    return index.attnums.map((attnum) => this.#column(attnum))
  }

  #extendKeys(): void {
    for (const index of this.#keys.values()) index.extend(this.keyColumns(index), this.rowCount)
  }

  /** Own rows, or for a column that came later its missing value as often as there are rows. */
  #column(attnum: number): Column {
    const own = this.#columns.get(attnum)
    if (own !== undefined) return own.builder.view()
    const known = this.#constants.get(attnum)
    if (known !== undefined && known.length === this.rowCount) return known
    const { kind, width, missing } = columnSchema(this.schema, attnum)
    const builder = createColumnBuilder(kind, width, this.rowCount)
    for (let i = 0; i < this.rowCount; i += 1) builder.appendDatum(missing)
    const column = builder.finish()
    this.#constants.set(attnum, column)
    return column
  }

  /** The rows as they are now, for a reader. The caller keeps the segment open until the reader is done. */
  readable(): ReadableSegment {
    const rowCount = this.rowCount
    const { rowIds, inserted, deleted } = this.#times
    return {
      segmentId: this.segmentId,
      stage: 'growing',
      rowCount,
      native: this.native,
      rowIds,
      inserted,
      deleted,
      column: (attnum) => this.#column(attnum),
      prepare: (attnums) => {
        this.#times.prepare()
        for (const attnum of attnums) this.prepareColumn(attnum)
      },
      keyIndex: (indexOid) => this.#keys.get(indexOid),
    }
  }

  /** undefined: the column came later. */
  columnSchema(attnum: number): ColumnSchema | undefined {
    return this.#columns.get(attnum)?.schema
  }

  /** Tells the native handle of the column as it is now. */
  prepareColumn(attnum: number): void {
    const column = this.#columns.get(attnum)
    if (column === undefined) {
      const constant = this.#column(attnum)
      if (this.#nativeConstants.get(attnum) === constant) return
      this.native.setColumn(attnum, constant)
      this.#nativeConstants.set(attnum, constant)
    } else if (column.nativeGeneration !== column.builder.generation) {
      this.native.setColumn(attnum, column.builder.view())
      column.nativeGeneration = column.builder.generation
    }
  }

  /** Everything of it for sealing: see growing-seal.ts. Buffers are longer than the rows. */
  contents(): {
    readonly attnums: readonly number[]
    readonly batch: ColumnBatch
    readonly rowIds: Float64Array
    readonly inserted: Float64Array
    readonly deleted: Float64Array
  } {
    const { rowIds, inserted, deleted } = this.#times
    const columns = [...this.#columns.values()].map(({ builder }) => builder.view())
    return {
      attnums: [...this.#columns.keys()],
      batch: { rowCount: this.rowCount, columns },
      rowIds,
      inserted,
      deleted,
    }
  }

  /** No reader may be left. */
  close(): void {
    this.closed = true
    this.interim.close()
    this.native.close()
  }
}

function columnSchema(schema: TableSchema, attnum: number): ColumnSchema {
  const column = schema.columns.find((candidate) => candidate.attnum === attnum)
  if (column === undefined) throw goneColumn(schema.name, attnum)
  return column
}

/**
 * A sealed segment in memory, as readers see it. Its rows are views of the mapped data object; timestamps of deletes are
 * ours and change in place (a row's drops from +Infinity to a timestamp above every served read, so readers inside keep
 * seeing what they saw).
 *
 * Concurrency: everything is synchronous except building a key index. Whoever reads is inside `gate`; close() waits for them.
 * evict() gives memory back at once, also with a reader inside (a scan that waits for its client): what it still reads of the
 * mapped file comes from the page cache.
 */

import { Gate } from '#base/async/gate.js'
import type { Timestamp } from '#base/timestamp.js'
import { columnByteLength } from '#engine/columnar/batch.js'
import type { Column } from '#engine/columnar/column.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { Native, NativeIndex, NativeSegment } from '#engine/index/native.js'
import { missingColumn } from '#engine/segment/constant-column.js'
import { goneColumn } from '#engine/segment/gone-column.js'
import type { KeyFilter } from '#engine/segment/key-filter.js'
import { KeyIndex } from '#engine/segment/key-index.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { findRowId, type SealedData } from '#engine/segment/read-sealed.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'
import { checkOffsets } from '#engine/segment/sealed-file.js'
import { heapBytesPerRow } from '#nodes/query/known-segment.js'

/** Rows indexed between two pauses: a few milliseconds. */
const keyIndexSliceRows = 32_768

export interface LoadedIndex {
  readonly attnum: number
  /** Name of the object it was loaded from: another name is another build. */
  readonly objectName: string
  readonly index: NativeIndex
}

export class LoadedSegment implements ReadableSegment {
  readonly stage = 'sealed'
  readonly segmentId: number
  readonly rowCount: number
  readonly native: NativeSegment
  readonly rowIds: Float64Array
  readonly inserted: Float64Array
  readonly deleted: Float64Array
  readonly gate = new Gate()
  manifest: SegmentManifest
  schema: TableSchema
  readonly #native: Pick<Native, 'releasePages'>
  readonly #mapped: ArrayBufferLike
  readonly #columns: ReadonlyMap<number, Column>
  readonly #constants = new Map<number, Column>()
  readonly #known = new Set<number>()
  readonly #keys = new Map<number, KeyIndex | Promise<KeyIndex>>()
  #indexes: ReadonlyMap<number, LoadedIndex> = new Map()
  readonly #pause: () => Promise<void>
  readonly #keyFilters: Map<number, KeyFilter>
  /** Deletes came since native code last summed the timestamps up. */
  #timestampsChanged = false

  constructor(
    manifest: SegmentManifest,
    schema: TableSchema,
    data: SealedData,
    native: Pick<Native, 'createSegment' | 'releasePages'>,
    pause: () => Promise<void>,
    keyFilters: Map<number, KeyFilter>,
  ) {
    this.segmentId = manifest.segmentId
    this.rowCount = data.rowCount
    this.#native = native
    this.#mapped = data.rowIds.buffer
    this.native = native.createSegment()
    this.rowIds = data.rowIds
    this.inserted = data.inserted
    this.deleted = new Float64Array(data.rowCount).fill(Number.POSITIVE_INFINITY)
    this.manifest = manifest
    this.schema = schema
    this.#columns = data.columns
    this.#pause = pause
    this.#keyFilters = keyFilters
    this.native.setTimestamps(this.inserted, this.deleted, true)
  }

  get indexes(): ReadonlyMap<number, LoadedIndex> {
    return this.#indexes
  }

  column(attnum: number): Column {
    const column = this.#columns.get(attnum) ?? this.#constants.get(attnum)
    if (column !== undefined) return column
    const added = this.schema.columns.find((candidate) => candidate.attnum === attnum)
    if (added === undefined) throw goneColumn(this.schema.name, attnum)
    const constant = missingColumn(added, this.rowCount)
    this.#constants.set(attnum, constant)
    return constant
  }

  prepare(attnums: readonly number[]): void {
    if (this.#timestampsChanged) {
      this.#timestampsChanged = false
      this.native.setTimestamps(this.inserted, this.deleted, true)
    }
    for (const attnum of attnums) {
      if (this.#known.has(attnum)) continue
      const column = this.column(attnum)
      checkOffsets(column)
      this.native.setColumn(attnum, column)
      this.#known.add(attnum)
    }
  }

  keyIndex(indexOid: number): KeyIndex | Promise<KeyIndex> | undefined {
    const existing = this.#keys.get(indexOid)
    if (existing !== undefined) return existing
    const key = this.schema.keys.find((candidate) => candidate.indexOid === indexOid)
    if (key === undefined) return undefined
    const building = this.#buildKeyIndex(key)
    this.#keys.set(indexOid, building)
    building.then(
      (index) => this.#keys.set(indexOid, index),
      () => this.#keys.delete(indexOid),
    )
    return building
  }

  async #buildKeyIndex(key: KeyConstraint): Promise<KeyIndex> {
    const { attnums, nullsNotDistinct } = key
    const schemas = attnums.map((attnum) => {
      const schema = this.schema.columns.find((candidate) => candidate.attnum === attnum)
      return { attnum, typeName: schema?.typeName ?? '' }
    })
    const columns = attnums.map((attnum) => this.column(attnum))
    columns.forEach(checkOffsets)
    const index = new KeyIndex(schemas, nullsNotDistinct)
    index.reserve(this.rowCount)
    for (let row = 0; row < this.rowCount; row += keyIndexSliceRows) {
      index.extend(columns, Math.min(this.rowCount, row + keyIndexSliceRows))
      if (index.rowCount < this.rowCount) await this.#pause()
    }
    if (!this.#keyFilters.has(key.indexOid)) this.#keyFilters.set(key.indexOid, index.filter())
    return index
  }

  /** Ascending row ids; rows that the segment does not hold are ignored, an earlier delete of a row stands. */
  applyDeletes(rowIds: Float64Array, at: (position: number) => Timestamp | number): void {
    for (let i = 0; i < rowIds.length; i += 1) {
      const row = findRowId(this.rowIds, rowIds[i] ?? 0)
      if (row < 0) continue
      const timestamp = at(i)
      if (timestamp < (this.deleted[row] ?? 0)) this.deleted[row] = timestamp
    }
    this.#timestampsChanged = true
  }

  /** Attaches these and detaches all others, in one step; then closes those that are not used any more. */
  switchIndexes(next: ReadonlyMap<number, LoadedIndex>): void {
    const previous = this.#indexes
    for (const [indexOid, { attnum }] of previous) {
      if (!next.has(indexOid)) this.native.setIndex(attnum, indexOid, undefined)
    }
    for (const [indexOid, { attnum, index }] of next) {
      if (previous.get(indexOid)?.index !== index) this.native.setIndex(attnum, indexOid, index)
    }
    this.#indexes = next
    for (const [indexOid, { index }] of previous) {
      if (next.get(indexOid)?.index !== index) index.close()
    }
  }

  /** @param objectNames of those that are damaged */
  dropIndexes(objectNames: ReadonlySet<string>): void {
    const kept = [...this.#indexes].filter(([, { objectName }]) => !objectNames.has(objectName))
    this.switchIndexes(new Map(kept))
  }

  putSchema(schema: TableSchema): void {
    this.schema = schema
    for (const indexOid of this.#keys.keys()) {
      if (!schema.keys.some((key) => key.indexOid === indexOid)) this.#keys.delete(indexOid)
    }
  }

  memory(): SegmentMemory {
    let heapBytes = this.rowCount * heapBytesPerRow
    for (const constant of this.#constants.values()) heapBytes += columnByteLength(constant)
    for (const index of this.#keys.values()) {
      if (index instanceof KeyIndex) heapBytes += index.memoryBytes
    }
    let indexBytes = 0
    for (const { index } of this.#indexes.values()) indexBytes += index.memoryBytes
    return { mappedBytes: this.manifest.data.bytes, heapBytes, indexBytes }
  }

  /** Indexes are unmapped, key indexes forgotten, pages of the data given back. Nobody enters any more; then close(). */
  evict(): void {
    this.switchIndexes(new Map())
    this.#keys.clear()
    this.#constants.clear()
    if (this.#mapped instanceof ArrayBuffer) this.#native.releasePages(this.#mapped)
  }

  /** Waits for the readers inside, then gives the native handle back. */
  async close(): Promise<void> {
    await this.gate.close()
    this.native.close()
    for (const { index } of this.#indexes.values()) index.close()
  }
}

export interface SegmentMemory {
  /** Of files that the system may page in and out. */
  readonly mappedBytes: number
  readonly heapBytes: number
  readonly indexBytes: number
}

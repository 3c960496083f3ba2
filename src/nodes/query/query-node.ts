/**
 * The query node: which segments are known, and who is reading them.
 *
 * Concurrency: loads, switches and the release of one segment run one after the other; reads enter a segment's gate and are
 * waited for by its release. A read names its segments and enters all of them before anything is awaited, so it sees them
 * at one moment: what happens to a segment after that (an index, deletes above the read's timestamp, eviction) changes no row.
 *
 * Memory: residency.ts decides which segments are in memory. A read has pinned what it computes over; one that needs more than
 * the budget goes over its segments in parts, and a scan that waits for its reader has nothing pinned (MEM-2).
 */
import { Mutex } from '#base/async/mutex.js'
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { aggregateSegments } from '#engine/exec/aggregate.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import { mergeScan } from '#engine/exec/merge-scan.js'
import { reduceSearch } from '#engine/exec/merge-search.js'
import { scanSegments } from '#engine/exec/scan.js'
import { searchSegments } from '#engine/exec/search.js'
import { narrow, withSortColumns } from '#engine/exec/sort-columns.js'
import type { Native } from '#engine/index/native.js'
import type {
  AggregateFragment,
  AggregatePart,
  ScanFragment,
  ScanPart,
  ScanSummary,
  SearchFragment,
  SearchPart,
} from '#engine/plan/fragment.js'
import { loadDeletes, type SegmentLoader } from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { QueryMemory, QueryNode } from '#nodes/query/contract.js'
import { estimateBytes, KnownSegment } from '#nodes/query/known-segment.js'
import {
  countDeletes,
  finishLoading,
  type Loading,
  loadSegment,
  switchManifest,
} from '#nodes/query/load.js'
import type { LoadedSegment, SegmentMemory } from '#nodes/query/loaded-segment.js'
import { type Pinned, Residency } from '#nodes/query/residency.js'
import { segmentsWithKeys } from '#nodes/query/segments-with-keys.js'
import { verifyIndexes } from '#nodes/query/verify-indexes.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface QueryNodeOptions {
  readonly native: Native
  readonly objects: ObjectStore
  readonly runtime: Runtime
  /** Whether data objects are compared with their checksum when they are loaded (about 5 GB/s); default true. */
  readonly verifyChecksums?: boolean
  /** What segments in memory may take; default: no bound. */
  readonly memoryBytes?: number
  /** An index file is damaged: its segment is searched without it. */
  readonly onDamaged?: (error: unknown) => void
}

export interface LocalQueryNode extends QueryNode {
  /** What is in memory, and what it costs. */
  loaded(): readonly LoadedReport[]
}

export interface LoadedReport extends SegmentMemory {
  readonly segmentId: number
  readonly rowCount: number
}

export function startQueryNode(options: QueryNodeOptions): LocalQueryNode {
  const { native, objects, runtime } = options
  const loader: SegmentLoader = {
    native,
    objects,
    pause: () => runtime.sleep(0),
    verifyChecksums: options.verifyChecksums ?? true,
  }
  return new SegmentServer(
    { native, loader },
    options.memoryBytes ?? Number.POSITIVE_INFINITY,
    options.onDamaged ?? (() => {}),
  )
}

class SegmentServer implements LocalQueryNode {
  readonly #loading: Loading
  readonly #known = new Map<number, KnownSegment>()
  readonly #changing = new Map<number, Change>()
  readonly #schemas = new Map<number, TableSchema>()
  readonly #residency: Residency<KnownSegment, LoadedSegment>
  readonly #closing = new Set<Promise<void>>()
  readonly #onDamaged: (error: unknown) => void
  /** One file at a time. */
  readonly #verifying = new Mutex()
  #stopped = false

  constructor(loading: Loading, memoryBytes: number, onDamaged: (error: unknown) => void) {
    this.#loading = loading
    this.#onDamaged = onDamaged
    this.#residency = new Residency(
      {
        estimate: ({ manifest }) => estimateBytes(manifest),
        load: (known) => loadSegment(loading, known),
        finish: (known, segment) => {
          const more = finishLoading(loading, known, segment)
          if (more === undefined && known.trusted.size > 0) this.#track(this.#verify(known))
          return more
        },
        bytes: (segment) => totalBytes(segment.memory()),
        unload: (segment) => {
          segment.evict()
          // Its readers leave when they are done: nothing here waits for them.
          this.#track(segment.close())
        },
      },
      memoryBytes,
    )
  }

  async load(
    manifest: SegmentManifest,
    schema: TableSchema,
    when: 'now' | 'when read' = 'now',
  ): Promise<void> {
    const { segmentId } = manifest
    await this.#change(segmentId, async ({ deletes }) => {
      if (this.#stopped) throw stopped()
      const present = this.#known.get(segmentId)
      const newest = this.#newest(schema)
      if (present !== undefined && present.manifest.data.name === manifest.data.name) {
        await this.#switch(present, manifest, newest)
        return
      }
      const known = new KnownSegment(manifest, newest, when === 'when read')
      for (const { rowIds, at } of deletes) known.deletes.add(rowIds, at)
      this.#known.set(segmentId, known)
      try {
        if (when === 'now') await this.#residency.warm(known)
      } catch (error) {
        if (present === undefined) this.#known.delete(segmentId)
        else this.#known.set(segmentId, present)
        throw error
      }
      if (present !== undefined) this.#track(this.#retire(present))
    })
  }

  /**
   * The segment stays, its indexes or deletes objects are others. Deletes only become more: a manifest with fewer is an older one, of
   * an owner who does not know yet that there is another, and is passed over; its deletes were dropped from memory long ago.
   */
  async #switch(
    known: KnownSegment,
    manifest: SegmentManifest,
    schema: TableSchema,
  ): Promise<void> {
    const deletes = await loadDeletes(this.#loading.loader, manifest)
    if (await this.#isOlder(known, manifest, deletes.rowIds.length)) return
    known.schema = schema
    const segment = this.#residency.hold(known)
    if (segment !== undefined) {
      try {
        await switchManifest(this.#loading, known, segment, manifest, deletes)
        known.manifest = manifest
      } finally {
        this.#residency.release([known])
      }
    } else {
      // If it is being loaded, that ends with the newer manifest.
      const before = known.manifest
      known.manifest = manifest
      const hasNewIndexes = manifest.indexes.some(({ object }) => !namesIndex(before, object.name))
      try {
        if (hasNewIndexes) await this.#residency.warm(known)
      } catch (error) {
        known.manifest = before
        throw error
      }
    }
    known.deletes.dropSaved(deletes.rowIds)
    known.savedDeletes = deletes.rowIds.length
  }

  async #isOlder(known: KnownSegment, { deletes }: SegmentManifest, count: number) {
    if (deletes?.name === known.manifest.deletes?.name) return false
    known.savedDeletes ??= await countDeletes(this.#loading.loader, known.manifest)
    return count < known.savedDeletes
  }

  async release(segmentId: number): Promise<void> {
    await this.#change(segmentId, async () => {
      const known = this.#known.get(segmentId)
      if (known === undefined) return
      this.#known.delete(segmentId)
      await this.#retire(known)
    })
  }

  async #verify(known: KnownSegment): Promise<void> {
    await this.#verifying.run(async () => {
      if (this.#stopped) return
      await verifyIndexes(this.#loading, known, (error) => {
        this.#residency.peek(known)?.dropIndexes(known.damaged)
        this.#onDamaged(error)
      })
    })
  }

  /** Waits for its readers, then takes it out of memory. */
  async #retire(known: KnownSegment): Promise<void> {
    await known.gate.close()
    await this.#residency.remove(known)
  }

  putSchema(schema: TableSchema): void {
    const newest = this.#schemas.get(schema.tableId)
    if (newest !== undefined && !isNewer(schema, newest)) return
    this.#schemas.set(schema.tableId, schema)
    for (const known of this.#known.values()) {
      if (
        known.schema.tableId !== schema.tableId ||
        known.schema.incarnation !== schema.incarnation
      ) {
        continue
      }
      known.schema = schema
      this.#residency.peek(known)?.putSchema(schema)
    }
  }

  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void {
    const known = this.#known.get(segmentId)
    const change = this.#changing.get(segmentId)
    if (known === undefined && change === undefined) throw notLoaded(segmentId)
    change?.deletes.push({ rowIds, at })
    if (known === undefined) return
    known.deletes.add(rowIds, at)
    this.#residency.peek(known)?.applyDeletes(rowIds, () => at)
  }

  async search(
    segmentIds: readonly number[],
    fragment: SearchFragment,
    context: Context,
  ): Promise<SearchPart> {
    using readers = this.#enter(segmentIds)
    const { native } = this.#loading
    const parts = await this.#overAll(readers.known, context, (segments) =>
      searchSegments(native, segments, fragment, context),
    )
    const [first, second] = parts
    return first !== undefined && second === undefined ? first : reduceSearch(parts, fragment.k)
  }

  async aggregate(
    segmentIds: readonly number[],
    fragment: AggregateFragment,
    context: Context,
  ): Promise<AggregatePart> {
    using readers = this.#enter(segmentIds)
    const { native } = this.#loading
    const parts = await this.#overAll(readers.known, context, (segments) =>
      aggregateSegments(native, segments, fragment, context),
    )
    const [first, second] = parts
    if (first !== undefined && second === undefined) return first
    return {
      values: reduceAggregates(
        parts.map(({ values }) => values),
        fragment.aggregates,
      ),
      segments: parts.flatMap(({ segments }) => segments),
    }
  }

  /** Computes over all segments at once, or if memory is short over some at a time. */
  async #overAll<T>(
    known: readonly KnownSegment[],
    context: Context,
    compute: (segments: readonly LoadedSegment[]) => Promise<T>,
  ): Promise<readonly T[]> {
    const here = this.#residency.acquireHere(known)
    if (here !== undefined) return [await this.#over(here, compute)]
    const parts: T[] = []
    let left = known
    while (left.length > 0) {
      const pinned = await this.#residency.acquire(left, context)
      const done = new Set(pinned.map(({ key }) => key))
      left = left.filter((one) => !done.has(one))
      parts.push(await this.#over(pinned, compute))
    }
    return parts
  }

  async #over<T>(
    pinned: readonly Pinned<KnownSegment, LoadedSegment>[],
    compute: (segments: readonly LoadedSegment[]) => Promise<T>,
  ): Promise<T> {
    try {
      return await compute(pinned.map(({ value }) => value))
    } finally {
      this.#residency.release(pinned.map(({ key }) => key))
    }
  }

  async *scan(
    segmentIds: readonly number[],
    fragment: ScanFragment,
    context: Context,
  ): AsyncGenerator<ScanPart, ScanSummary> {
    using readers = this.#enter(segmentIds)
    const { keys } = fragment
    const known = keys === undefined ? readers.known : segmentsWithKeys(readers.known, keys)
    const groups = this.#groups(known)
    const [only, second] = groups
    if (second === undefined) return yield* this.#scanGroup(only ?? [], fragment, context)
    const wide = withSortColumns(fragment)
    // Merging begins all of them: one after the other, or this read would wait for itself.
    const turn = new Mutex()
    const scans = groups.map((group) => this.#scanGroup(group, wide, context, turn))
    const merged = mergeScan(scans, wide)
    return yield* wide === fragment ? merged : narrow(merged, fragment.output.length)
  }

  /** Pinned until the first part is there: what follows is gathered from columns, with no native call (EXEC-2). */
  async *#scanGroup(
    group: readonly KnownSegment[],
    fragment: ScanFragment,
    context: Context,
    turn = new Mutex(),
  ): AsyncGenerator<ScanPart, ScanSummary> {
    const { native, loader } = this.#loading
    using held = new Held()
    const { parts, first } = await turn.run(async () => {
      checkCancelled(context)
      const pinned =
        this.#residency.acquireHere(group) ?? (await this.#residency.acquire(group, context))
      return await this.#over(pinned, async (segments) => {
        held.enter(segments)
        const begun = scanSegments(native, segments, fragment, context, loader.pause)
        return { parts: begun, first: await begun.next() }
      })
    })
    let next = first
    try {
      while (!next.done) {
        yield next.value
        next = await parts.next()
      }
      return next.value
    } finally {
      await parts.return({ segments: [] })
    }
  }

  /** In row id order; each takes at most half of the budget, so that others find room beside it. One group if all fit. */
  #groups(known: readonly KnownSegment[]): readonly (readonly KnownSegment[])[] {
    const { budgetBytes } = this.#residency
    if (budgetBytes === Number.POSITIVE_INFINITY) return [known]
    let total = 0
    for (const one of known) total += this.#residency.bytesOf(one)
    if (total <= budgetBytes) return [known]
    const groups: KnownSegment[][] = []
    let room = 0
    for (const one of known.toSorted((a, b) => a.manifest.minRowId - b.manifest.minRowId)) {
      const bytes = this.#residency.bytesOf(one)
      const last = groups.at(-1)
      if (last === undefined || bytes > room) {
        groups.push([one])
        room = budgetBytes / 2 - bytes
      } else {
        last.push(one)
        room -= bytes
      }
    }
    return groups
  }

  loaded(): readonly LoadedReport[] {
    return [...this.#residency.values()].map((segment) => ({
      segmentId: segment.segmentId,
      rowCount: segment.rowCount,
      ...segment.memory(),
    }))
  }

  memory(): QueryMemory {
    let keptBytes = 0
    for (const { deletes, keyFilters } of this.#known.values()) {
      keptBytes += deletes.byteLength
      for (const filter of keyFilters.values()) keptBytes += filter.byteLength
    }
    const figures = this.#residency.figures()
    return {
      ...figures,
      usedBytes: figures.usedBytes + keptBytes,
      segmentCount: this.#known.size,
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([...this.#changing.values()].map(({ mutex }) => mutex.run(async () => {})))
    const retiring = [...this.#known.values()].map((known) => this.#retire(known))
    this.#known.clear()
    await Promise.all(retiring)
    while (this.#closing.size > 0) await Promise.all(this.#closing)
  }

  #enter(segmentIds: readonly number[]): Readers {
    const entered: KnownSegment[] = []
    for (const segmentId of segmentIds) {
      const known = this.#known.get(segmentId)
      if (known === undefined || !known.gate.enter()) {
        for (const other of entered) other.gate.leave()
        throw this.#stopped ? stopped() : notLoaded(segmentId)
      }
      entered.push(known)
    }
    return new Readers(entered)
  }

  #track(closing: Promise<void>): void {
    const tracked = closing.finally(() => this.#closing.delete(tracked))
    this.#closing.add(tracked)
  }

  /** The newest schema of the same incarnation that was heard of. */
  #newest(schema: TableSchema): TableSchema {
    const known = this.#schemas.get(schema.tableId)
    return known !== undefined && known.incarnation === schema.incarnation && isNewer(known, schema)
      ? known
      : schema
  }

  /** Runs changes of one segment one after the other. */
  async #change(segmentId: number, section: (change: Change) => Promise<void>): Promise<void> {
    const change = this.#changing.get(segmentId) ?? { mutex: new Mutex(), deletes: [], waiting: 0 }
    this.#changing.set(segmentId, change)
    change.waiting += 1
    try {
      await change.mutex.run(() => section(change))
    } finally {
      change.waiting -= 1
      if (change.waiting === 0) this.#changing.delete(segmentId)
    }
  }
}

interface Change {
  readonly mutex: Mutex
  /** Deletes that came since the first of the changes under way began. */
  readonly deletes: { readonly rowIds: Float64Array; readonly at: Timestamp }[]
  waiting: number
}

/** Segments that a read is inside of, until disposed. */
class Readers implements Disposable {
  readonly known: readonly KnownSegment[]

  constructor(known: readonly KnownSegment[]) {
    this.known = known
  }

  [Symbol.dispose](): void {
    for (const { gate } of this.known) gate.leave()
  }
}

/** Segments in memory whose native handles stay, until disposed, even if they are evicted. */
class Held implements Disposable {
  readonly #segments: LoadedSegment[] = []

  enter(segments: readonly LoadedSegment[]): void {
    for (const segment of segments) if (segment.gate.enter()) this.#segments.push(segment)
  }

  [Symbol.dispose](): void {
    for (const { gate } of this.#segments) gate.leave()
  }
}

function totalBytes({ mappedBytes, heapBytes, indexBytes }: SegmentMemory): number {
  return mappedBytes + heapBytes + indexBytes
}

function isNewer(a: TableSchema, b: TableSchema): boolean {
  return a.version > b.version
}

function notLoaded(segmentId: number): DatabaseError {
  return new DatabaseError(
    SqlState.objectNotInPrerequisiteState,
    `segment ${segmentId} is not loaded`,
  )
}

function stopped(): DatabaseError {
  return new DatabaseError(SqlState.adminShutdown, 'query node is stopping')
}

function namesIndex({ indexes }: SegmentManifest, name: string): boolean {
  return indexes.some(({ object }) => object.name === name)
}

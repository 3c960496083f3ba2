/**
 * The query node: which segments are here, and who is reading them.
 *
 * Concurrency: loads, switches and the release of one segment run one after the other; reads enter a segment's gate and are
 * waited for by its release. A read names its segments and enters all of them before anything is awaited, so it sees them
 * at one moment.
 */
import { Mutex } from '#base/async/mutex.js'
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { aggregateSegments } from '#engine/exec/aggregate.js'
import { scanSegments } from '#engine/exec/scan.js'
import { searchSegments } from '#engine/exec/search.js'
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
import type { SegmentLoader } from '#engine/segment/load-sealed.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { type Loading, loadSegment, switchManifest } from '#nodes/query/load.js'
import type { LoadedSegment, SegmentMemory } from '#nodes/query/loaded-segment.js'
import type { ObjectStore } from '#storage/objects/objects.js'

export interface QueryNodeOptions {
  readonly native: Native
  readonly objects: ObjectStore
  readonly runtime: Runtime
  /** Whether data objects are compared with their checksum when they are loaded (about 5 GB/s); default true. */
  readonly verifyChecksums?: boolean
}

export interface LocalQueryNode extends QueryNode {
  /** What is loaded, and what it costs. */
  loaded(): readonly LoadedReport[]
}

export interface LoadedReport extends SegmentMemory {
  readonly segmentId: number
  readonly rowCount: number
}

interface PendingDelete {
  readonly rowIds: Float64Array
  readonly at: Timestamp
}

export function startQueryNode(options: QueryNodeOptions): LocalQueryNode {
  const { native, objects, runtime } = options
  const loader: SegmentLoader = {
    native,
    objects,
    pause: () => runtime.sleep(0),
    verifyChecksums: options.verifyChecksums ?? true,
  }
  return new SegmentServer({ native, loader })
}

class SegmentServer implements LocalQueryNode {
  readonly #loading: Loading
  readonly #segments = new Map<number, LoadedSegment>()
  readonly #changing = new Map<number, Change>()
  readonly #schemas = new Map<number, TableSchema>()
  readonly #closing = new Set<Promise<void>>()
  #stopped = false

  constructor(loading: Loading) {
    this.#loading = loading
  }

  async load(manifest: SegmentManifest, schema: TableSchema): Promise<void> {
    await this.#change(manifest.segmentId, async (change) => {
      if (this.#stopped) throw stopped()
      const present = this.#segments.get(manifest.segmentId)
      if (present !== undefined && present.manifest.data.name === manifest.data.name) {
        await switchManifest(this.#loading, present, manifest, this.#newest(schema))
        return
      }
      const segment = await loadSegment(this.#loading, manifest, this.#newest(schema))
      // Deletes that came while it was being loaded, and a schema that did.
      for (const { rowIds, at } of change.deletes) segment.applyDeletes(rowIds, () => at)
      segment.putSchema(this.#newest(schema))
      this.#segments.set(manifest.segmentId, segment)
      // Its readers leave when they are done: nothing here waits for them.
      if (present !== undefined) void this.#close(present)
    })
  }

  async release(segmentId: number): Promise<void> {
    await this.#change(segmentId, async () => {
      const segment = this.#segments.get(segmentId)
      if (segment === undefined) return
      this.#segments.delete(segmentId)
      await this.#close(segment)
    })
  }

  putSchema(schema: TableSchema): void {
    const known = this.#schemas.get(schema.tableId)
    if (known !== undefined && !isNewer(schema, known)) return
    this.#schemas.set(schema.tableId, schema)
    for (const segment of this.#segments.values()) {
      if (
        segment.schema.tableId === schema.tableId &&
        segment.schema.incarnation === schema.incarnation
      ) {
        segment.putSchema(schema)
      }
    }
  }

  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void {
    const segment = this.#segments.get(segmentId)
    const change = this.#changing.get(segmentId)
    if (segment === undefined && change === undefined) throw notLoaded(segmentId)
    segment?.applyDeletes(rowIds, () => at)
    change?.deletes.push({ rowIds, at })
  }

  async search(
    segmentIds: readonly number[],
    fragment: SearchFragment,
    context: Context,
  ): Promise<SearchPart> {
    using readers = this.#enter(segmentIds)
    return await searchSegments(this.#loading.native, readers.segments, fragment, context)
  }

  async *scan(
    segmentIds: readonly number[],
    fragment: ScanFragment,
    context: Context,
  ): AsyncGenerator<ScanPart, ScanSummary> {
    using readers = this.#enter(segmentIds)
    const { native, loader } = this.#loading
    return yield* scanSegments(native, readers.segments, fragment, context, loader.pause)
  }

  async aggregate(
    segmentIds: readonly number[],
    fragment: AggregateFragment,
    context: Context,
  ): Promise<AggregatePart> {
    using readers = this.#enter(segmentIds)
    return await aggregateSegments(this.#loading.native, readers.segments, fragment, context)
  }

  loaded(): readonly LoadedReport[] {
    return [...this.#segments.values()].map((segment) => ({
      segmentId: segment.segmentId,
      rowCount: segment.rowCount,
      ...segment.memory(),
    }))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all([...this.#changing.values()].map(({ mutex }) => mutex.run(async () => {})))
    const closing = [...this.#segments.values()].map((segment) => this.#close(segment))
    this.#segments.clear()
    await Promise.all([...closing, ...this.#closing])
  }

  #enter(segmentIds: readonly number[]): Readers {
    const entered: LoadedSegment[] = []
    for (const segmentId of segmentIds) {
      const segment = this.#segments.get(segmentId)
      if (segment === undefined || !segment.gate.enter()) {
        for (const other of entered) other.gate.leave()
        throw this.#stopped ? stopped() : notLoaded(segmentId)
      }
      entered.push(segment)
    }
    return new Readers(entered)
  }

  #close(segment: LoadedSegment): Promise<void> {
    const closing = segment.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
    return closing
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
  readonly deletes: PendingDelete[]
  waiting: number
}

/** Segments that a read is inside of, until disposed. */
class Readers implements Disposable {
  readonly segments: readonly LoadedSegment[]

  constructor(segments: readonly LoadedSegment[]) {
    this.segments = segments
  }

  [Symbol.dispose](): void {
    for (const { gate } of this.segments) gate.leave()
  }
}

function isNewer(a: TableSchema, b: TableSchema): boolean {
  return a.incarnation > b.incarnation || (a.incarnation === b.incarnation && a.version > b.version)
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

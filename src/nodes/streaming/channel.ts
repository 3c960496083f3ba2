/** A channel: one shard of one table, as the node that owns it keeps it. State and plain functions over it, no waiting. */
import { invariant } from '#base/errors.js'
import { type Timestamp, timestampMax, timestampZero } from '#base/timestamp.js'
import { rowIdsPerShard } from '#engine/columnar/row-id.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { PendingCommit, UndecidedTransaction } from '#nodes/streaming/commit-queue.js'
import { createView, type SealedEntry, type View } from '#nodes/streaming/view.js'

/** 2^53 / rowIdsPerShard. */
export const shardCountMax = 8192

export interface Table {
  schema: TableSchema
  /** Those of the shards that the node's log channel carries, by shard. */
  readonly channels: readonly Channel[]
}

export class Channel {
  readonly name: string
  readonly tableId: number
  readonly shard: number
  nextRowId: number
  /** Log position below which nothing is needed any more, as the coordinator has it. */
  checkpoint = 0
  /** nextRowId as the coordinator has it. */
  savedRowId = 0
  /** Rows that were deleted before this, or then, are gone: earlier reads are refused. */
  readableFrom: Timestamp = timestampZero
  /** Rows that a commit under way deletes. */
  readonly pendingDeletes = new Map<number, PendingCommit>()
  pendingTruncate: PendingCommit | undefined
  /** Transactions that change it, prepared or on their way to be, and are not decided. */
  readonly undecided = new Set<UndecidedTransaction>()
  /** Raised whenever the set of sealed segments changes: what was looked up there must be looked up again. */
  sealedGeneration = 0
  /** Table is dropped: background work on it ends. */
  dropped = false
  #view: View = createView([], [])
  readonly #olderViews: View[] = []

  constructor(tableId: number, shard: number) {
    invariant('LIMIT-10', shard < shardCountMax, () => `shard ${shard}`)
    this.tableId = tableId
    this.shard = shard
    this.name = channelName(tableId, shard)
    this.nextRowId = shard * rowIdsPerShard + 1
  }

  get view(): View {
    return this.#view
  }

  /** Whom a truncation waits for. */
  firstUndecided(): UndecidedTransaction | undefined {
    const [first] = this.undecided
    return first
  }

  /** Begins a read of the view as it is now; every acquire is followed by one release. */
  acquireView(): View {
    this.#view.readers += 1
    return this.#view
  }

  releaseView(view: View): void {
    view.readers -= 1
    if (view !== this.#view && view.readers === 0) this.#disposeUnread()
  }

  /** The next view, in one step. @param onUnread disposes of what it lacks, when no read visits that any more */
  switchView(
    growing: readonly GrowingSegment[],
    sealed: readonly SealedEntry[],
    onUnread?: () => void,
  ): void {
    const before = this.#view
    if (sealed !== before.sealed) this.sealedGeneration += 1
    this.#view = createView(growing, sealed)
    before.onUnread = onUnread
    this.#olderViews.push(before)
    this.#disposeUnread()
  }

  #disposeUnread(): void {
    for (;;) {
      const [oldest] = this.#olderViews
      if (oldest === undefined || oldest.readers > 0) return
      this.#olderViews.shift()
      oldest.onUnread?.()
    }
  }

  /** The growing segment that takes rows now. */
  openGrowing(): GrowingSegment | undefined {
    const last = this.#view.growing.at(-1)
    return last === undefined || last.closed ? undefined : last
  }

  takeRowIds(count: number): number {
    const first = this.nextRowId
    this.nextRowId += count
    return first
  }

  /** Where a row may be: exactly for growing segments, by range for sealed ones. */
  locate(rowId: number): RowLocation | undefined {
    for (const segment of this.#view.growing) {
      if (rowId < segment.firstRowId || rowId > segment.lastRowId) continue
      const ordinal = segment.locate(rowId)
      if (ordinal >= 0) return { kind: 'growing', segment, ordinal }
    }
    for (const entry of this.#view.sealed) {
      if (rowId >= entry.manifest.minRowId && rowId <= entry.manifest.maxRowId) {
        return { kind: 'sealed', entry }
      }
    }
    return undefined
  }

  isLive(rowId: number): boolean {
    const location = this.locate(rowId)
    if (location === undefined) return false
    if (location.kind === 'sealed') {
      const { entry } = location
      return entry.until === timestampMax && !entry.deletes.has(rowId)
    }
    const { segment, ordinal } = location
    return (
      segment.insertedAt(ordinal) !== timestampMax && segment.deletedAt(ordinal) === timestampMax
    )
  }
}

export type RowLocation =
  | { readonly kind: 'growing'; readonly segment: GrowingSegment; readonly ordinal: number }
  | { readonly kind: 'sealed'; readonly entry: SealedEntry }

export function channelName(tableId: number, shard: number): string {
  return `${tableId}/${shard}`
}

/** Nothing in the view of the channel is visible at the timestamp in growing segments. */
export function growingIsEmpty(view: View, readAt: Timestamp): boolean {
  for (const segment of view.growing) if (segment.minInserted <= readAt) return false
  return true
}

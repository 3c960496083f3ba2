/**
 * A transaction's private state: the rows it has written but not committed, per table, so that it reads its own writes
 * (and nobody else does), and the DDL it has tried. Committing turns it into one append to the log.
 */
import type { Timestamp } from '#base/timestamp.js'
import { takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { StagedRows } from '#nodes/streaming/contract.js'
import type { CatalogSnapshot, DdlEntry } from '#postgres/contract.js'

/** Rows in the columns that the table had when they were written: later DDL of the transaction may have changed it. */
export interface OwnBatch {
  readonly batch: ColumnBatch
  readonly attnums: readonly number[]
}

interface OverlayBatch extends OwnBatch {
  /** Rows that a later statement of the transaction removed. */
  readonly removed: ReadonlySet<number>
}

export class TableOverlay {
  #batches: readonly OverlayBatch[] = []
  #deletes: ReadonlySet<number> = new Set()
  truncated = false
  /** Rises when a row of its own goes, so that what was derived from its rows is made anew. */
  generation = 0

  get isEmpty(): boolean {
    return this.#batches.length === 0 && this.#deletes.size === 0 && !this.truncated
  }

  /** Row ids of committed rows that this transaction deleted, ascending. */
  deletes(): Float64Array {
    return Float64Array.from(this.#deletes).sort()
  }

  get rowCount(): number {
    return this.#batches.reduce((sum, { batch, removed }) => sum + batch.rowCount - removed.size, 0)
  }

  /** Live rows, oldest first. */
  batches(): readonly OwnBatch[] {
    return this.#batches.flatMap(({ batch, attnums, removed }) => {
      if (removed.size === 0) return [{ batch, attnums }]
      if (removed.size === batch.rowCount) return []
      const rows: number[] = []
      for (let row = 0; row < batch.rowCount; row += 1) if (!removed.has(row)) rows.push(row)
      return [{ batch: takeRows(batch, Uint32Array.from(rows)), attnums }]
    })
  }

  insert(batch: ColumnBatch, attnums: readonly number[]): void {
    if (batch.rowCount > 0)
      this.#batches = [...this.#batches, { batch, attnums, removed: new Set() }]
  }

  deleteStored(rowIds: Iterable<number>): void {
    this.#deletes = new Set([...this.#deletes, ...rowIds])
  }

  /** @param positions among the live rows, as batches() gives them one after the other, ascending */
  deleteOwn(positions: readonly number[]): void {
    if (positions.length === 0) return
    this.generation += 1
    let next = 0
    let base = 0
    this.#batches = this.#batches.map((entry) => {
      const { batch } = entry
      const removed = new Set(entry.removed)
      let live = 0
      for (let row = 0; row < batch.rowCount; row += 1) {
        if (entry.removed.has(row)) continue
        if (positions[next] === base + live) {
          removed.add(row)
          next += 1
        }
        live += 1
      }
      base += live
      return { ...entry, removed }
    })
  }

  truncate(): void {
    this.#batches = []
    this.#deletes = new Set()
    this.truncated = true
    this.generation += 1
  }

  /** Immutable inside: a copy shares everything. */
  copy(): TableOverlay {
    const copied = new TableOverlay()
    copied.#batches = this.#batches
    copied.#deletes = this.#deletes
    copied.truncated = this.truncated
    copied.generation = this.generation
    return copied
  }
}

export interface StagedTable {
  readonly tableId: number
  readonly rows: StagedRows
}

interface Savepoint {
  readonly name: string
  readonly overlays: ReadonlyMap<number, TableOverlay>
  readonly pendingDdl: readonly DdlEntry[]
  readonly catalog: CatalogSnapshot | undefined
  readonly settings: unknown
  /** Of the session's locks. */
  readonly mark: number
}

export type IsolationLevel =
  | 'read uncommitted'
  | 'read committed'
  | 'repeatable read'
  | 'serializable'

export class Transaction {
  readonly kind: 'implicit' | 'explicit'
  /** now(): of a block its BEGIN, of an implicit transaction its first statement. Unix milliseconds. */
  startMs: number
  failed = false
  /** A statement that looks at data has run: isolation is fixed. */
  hasQueried = false
  isolation: IsolationLevel
  readOnly: boolean
  /** The oldest timestamp at which a statement judged what it changed: what nobody referred to then may be gone since. */
  changedFrom: Timestamp | undefined
  /** Fixed by the first read under REPEATABLE READ and up. */
  snapshotAt: Timestamp | undefined
  overlays = new Map<number, TableOverlay>()
  pendingDdl: readonly DdlEntry[] = []
  /** In which it may change the catalog; undefined: there are no other proxies, or it has no DDL. */
  ddlTurn: { readonly number: number; isHeld(): boolean } | undefined
  /** The catalog with pendingDdl applied. */
  catalog: CatalogSnapshot | undefined
  /** SCRAM verifiers of roles, undefined to remove one; written with the commit. */
  readonly passwords = new Map<string, string | undefined>()
  /** Done once it has committed: NOTIFY. */
  readonly atCommit: (() => void)[] = []
  /** The DDL lock, if it is held: released at the end whatever happens. */
  readonly atEnd: (() => void)[] = []
  staged: StagedTable[] = []
  /** Shards in which referenced keys were seen, by index and key. A hint: a node judges at commit. */
  readonly referenceShards = new Map<string, number>()
  savepoints: Savepoint[] = []

  constructor(
    kind: 'implicit' | 'explicit',
    startMs: number,
    isolation: IsolationLevel,
    readOnly: boolean,
  ) {
    this.kind = kind
    this.startMs = startMs
    this.isolation = isolation
    this.readOnly = readOnly
  }

  overlay(tableId: number): TableOverlay {
    let overlay = this.overlays.get(tableId)
    if (overlay === undefined) {
      overlay = new TableOverlay()
      this.overlays.set(tableId, overlay)
    }
    return overlay
  }

  hasWrites(tableId: number): boolean {
    return this.overlays.get(tableId)?.isEmpty === false
  }

  get isDirty(): boolean {
    return (
      this.pendingDdl.length > 0 ||
      this.passwords.size > 0 ||
      this.staged.length > 0 ||
      [...this.overlays.values()].some((overlay) => !overlay.isEmpty)
    )
  }

  /** Nothing was written, locked or promised: there is nothing to end. */
  get isUntouched(): boolean {
    return (
      !this.isDirty &&
      this.atEnd.length === 0 &&
      this.atCommit.length === 0 &&
      this.overlays.size === 0
    )
  }

  /** Others may have DDL again. Called at the end at the latest. */
  releaseDdlLock(): void {
    for (const release of this.atEnd.splice(0)) release()
  }

  /** Takes over what an implicit transaction has done so far, when BEGIN turns it into a block. */
  adopt(before: Transaction): void {
    this.overlays = before.overlays
    this.pendingDdl = before.pendingDdl
    this.catalog = before.catalog
    this.staged = before.staged
    this.changedFrom = before.changedFrom
    this.atEnd.push(...before.atEnd)
    this.atCommit.push(...before.atCommit)
  }

  savepoint(name: string, settings: unknown, mark: number): void {
    this.savepoints.push({
      name,
      overlays: new Map([...this.overlays].map(([id, overlay]) => [id, overlay.copy()])),
      pendingDdl: this.pendingDdl,
      catalog: this.catalog,
      settings,
      mark,
    })
  }

  /** @returns the settings and locks saved with it; undefined if there is no such savepoint. The savepoint stays. */
  rollbackTo(name: string): { readonly settings: unknown; readonly mark: number } | undefined {
    const index = this.savepoints.findLastIndex((candidate) => candidate.name === name)
    const savepoint = this.savepoints[index]
    if (savepoint === undefined) return undefined
    this.savepoints.length = index + 1
    this.overlays = new Map([...savepoint.overlays].map(([id, overlay]) => [id, overlay.copy()]))
    this.pendingDdl = savepoint.pendingDdl
    this.catalog = savepoint.catalog
    this.failed = false
    return savepoint
  }

  release(name: string): boolean {
    const index = this.savepoints.findLastIndex((savepoint) => savepoint.name === name)
    if (index < 0) return false
    this.savepoints.length = index
    return true
  }
}

/** What statements of this proxy have done to tables since it started: pg_stat_user_tables. As there, also what was rolled back. */
export interface TableCounts {
  inserted: number
  updated: number
  deleted: number
  sequentialScans: number
  indexScans: number
  /** Unix milliseconds; 0: never. */
  lastSequentialScanMs: number
  lastIndexScanMs: number
  lastVacuumMs: number
  vacuumCount: number
  lastAnalyzeMs: number
  analyzeCount: number
}

export class TableCounters {
  readonly #counts = new Map<number, TableCounts>()

  /** Counts of the table, to be changed in place. */
  of(tableOid: number): TableCounts {
    let counts = this.#counts.get(tableOid)
    if (counts === undefined) {
      counts = {
        inserted: 0,
        updated: 0,
        deleted: 0,
        sequentialScans: 0,
        indexScans: 0,
        lastSequentialScanMs: 0,
        lastIndexScanMs: 0,
        lastVacuumMs: 0,
        vacuumCount: 0,
        lastAnalyzeMs: 0,
        analyzeCount: 0,
      }
      this.#counts.set(tableOid, counts)
    }
    return counts
  }

  /** Row versions that a statement took away and added. */
  change(tableOid: number, kind: string, removed: number, added: number): void {
    const counts = this.of(tableOid)
    // A statement of several kinds (MERGE, upserts) replaces as many rows as both went and came.
    const updated = kind === 'delete' ? 0 : Math.min(removed, added)
    counts.updated += updated
    counts.deleted += removed - updated
    counts.inserted += added - updated
  }

  forget(tableOid: number): void {
    this.#counts.delete(tableOid)
  }
}

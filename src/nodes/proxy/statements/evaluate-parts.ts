/**
 * A statement that changes each row by itself (plan/row-by-row.ts), over a part of the rows at a time: memory is needed for a part and
 * for what changes, not for all rows that are looked at. What a DELETE finds by conditions that segments judge goes without being read.
 */
import type { Timestamp } from '#base/timestamp.js'
import { batchByteLength, concatBatches } from '#engine/columnar/batch.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import type { Evaluated } from '#nodes/proxy/statements/evaluate-changes.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import {
  concatRowIds,
  keysOf,
  type LoadedRows,
  readOwn,
  readStored,
} from '#nodes/proxy/statements/read-rows.js'
import type { EvaluationResult, SequenceState, TableInfo } from '#postgres/contract.js'

/** The embedded PostgreSQL takes some six times as much. */
const partBytesMax = 16 * 1024 * 1024
const partRowsMax = 65_536

export interface PartsOptions {
  readonly scans: readonly ScanPlan[]
  readonly values: SlotValues
  readonly readAt: Timestamp
  /** Of stored rows, what the scans find is what goes. */
  readonly isJudged: boolean
  readonly sequences: readonly SequenceState[]
  /** Runs the statement over these rows alone. @returns undefined when it looked at others */
  readonly evaluate: (part: LoadedRows) => Promise<Evaluated | undefined>
}

/** @returns undefined when the statement looks at rows beside the one that it changes: it needs all of them at once */
export async function evaluateParts(
  execution: Execution,
  { scans, values, readAt, isJudged, sequences, evaluate }: PartsOptions,
): Promise<Evaluated | undefined> {
  const results: EvaluationResult[] = []
  const rows: LoadedRows[] = []
  const gathered = new Map<number, Gathered>()
  const gather = (table: TableInfo): Gathered => {
    const found = gathered.get(table.oid) ?? { table, removed: [], inserted: [] }
    gathered.set(table.oid, found)
    return found
  }
  for (const scan of scans) {
    const rowIds: Float64Array[] = []
    let base = 0
    for await (const part of readParts(execution, scan, values, readAt, isJudged)) {
      if (isJudged && part.rowIds.length > 0) {
        gather(scan.table).removed.push(
          Uint32Array.from({ length: part.rowCount }, (_, i) => base + i),
        )
      } else {
        const evaluated = await evaluate(part)
        if (evaluated === undefined) return undefined
        results.push(evaluated.result)
        for (const { table, removed, inserted } of evaluated.changes) {
          const change = gather(table)
          change.removed.push(removed.map((position) => base + position))
          if (inserted.rowCount > 0) change.inserted.push(inserted)
        }
      }
      rowIds.push(part.rowIds)
      base += part.rowCount
    }
    const { table } = scan
    rows.push({ table, attnums: [], rowIds: concatRowIds(rowIds), batches: [], rowCount: base })
  }
  const changes = [...gathered.values()].map(toChange)
  return { result: joinResults(execution, results, changes, sequences), changes, rows }
}

interface Gathered {
  readonly table: TableInfo
  readonly removed: Uint32Array[]
  readonly inserted: ColumnBatch[]
}

function toChange({ table, removed, inserted }: Gathered): CapturedChange {
  const all = new Uint32Array(removed.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of removed) {
    all.set(part, at)
    at += part.length
  }
  return {
    table,
    removed: all,
    inserted: inserted.length === 0 ? { rowCount: 0, columns: [] } : concatBatches(inserted),
  }
}

/** Every row that is changed is counted once: nothing else happens to it. */
function joinResults(
  { parsed }: Execution,
  results: readonly EvaluationResult[],
  changes: readonly CapturedChange[],
  sequences: readonly SequenceState[],
): EvaluationResult {
  const [first] = results
  const changed = changes.reduce((sum, { removed }) => sum + removed.length, 0)
  return {
    rowDescription: first?.rowDescription,
    dataRows:
      results.length === 1 && first !== undefined
        ? first.dataRows
        : Buffer.concat(results.map(({ dataRows }) => dataRows)),
    rowCount: results.reduce((sum, { rowCount }) => sum + rowCount, 0),
    commandTag: `${parsed.kind.toUpperCase()} ${changed}`,
    notices: results.flatMap(({ notices }) => notices),
    changes: [],
    sequences,
    touchedUnloaded: [],
  }
}

/** The stored rows that the scan's condition lets through, then the transaction's own; one part at least, unless they are judged. */
async function* readParts(
  execution: Execution,
  { table, attnums, filter, key }: ScanPlan,
  values: SlotValues,
  readAt: Timestamp,
  isJudged: boolean,
): AsyncGenerator<LoadedRows> {
  const wanted = isJudged ? [] : attnums
  let rowIds: Float64Array[] = []
  let batches: ColumnBatch[] = []
  let rowCount = 0
  let bytes = 0
  let isAnyRead = isJudged
  const take = (): LoadedRows => {
    const part = { table, attnums: wanted, rowIds: concatRowIds(rowIds), batches, rowCount }
    rowIds = []
    batches = []
    rowCount = 0
    bytes = 0
    isAnyRead = true
    return part
  }
  const options = { filter: filter?.(values), keys: keysOf(key, values) }
  for await (const read of readStored(execution, table, wanted, readAt, options)) {
    rowIds.push(read.rowIds)
    batches.push(read.batch)
    rowCount += read.batch.rowCount
    bytes += batchByteLength(read.batch)
    if (bytes >= partBytesMax || rowCount >= partRowsMax) yield take()
  }
  if (rowCount > 0) yield take()
  const own = readOwn(execution, table, attnums)
  if (own.length === 0 && isAnyRead) return
  const ownCount = own.reduce((sum, batch) => sum + batch.rowCount, 0)
  yield { table, attnums, rowIds: new Float64Array(), batches: own, rowCount: ownCount }
}

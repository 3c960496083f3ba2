/** Scans of several channels (or of growing and sealed segments) become one. */
import { invariant } from '#base/errors.js'
import { sliceBatch } from '#engine/columnar/batch.js'
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { gatherParts, type PickedRow } from '#engine/exec/gather-parts.js'
import type { SortKey } from '#engine/index/native.js'
import { compareValues, valueAt } from '#engine/plan/filter-evaluate.js'
import { compareBytes } from '#engine/plan/filter-order.js'
import type { ScanFragment, ScanPart, ScanSummary, SegmentReport } from '#engine/plan/fragment.js'

type Scan = AsyncGenerator<ScanPart, ScanSummary>

/** Rows in a merged part. */
const partRowCountMax = 4096

/**
 * Without an order: one scan after the other. With one: rows of all scans in order, ties in row id order; every sort key
 * must be among `output`. Stops all scans when `limit` rows are out or the reader leaves.
 */
export async function* mergeScan(
  scans: readonly Scan[],
  fragment: Pick<ScanFragment, 'output' | 'orderBy' | 'limit'>,
): Scan {
  const { orderBy = [], limit = Number.POSITIVE_INFINITY } = fragment
  try {
    if (scans.length === 1 || orderBy.length === 0) return yield* concatenate(scans, limit)
    return yield* mergeOrdered(scans, orderBy, fragment.output, limit)
  } finally {
    for (const scan of scans) await scan.return({ segments: [] })
  }
}

async function* concatenate(scans: readonly Scan[], limit: number): Scan {
  const segments: SegmentReport[] = []
  let left = limit
  for (const scan of scans) {
    while (left > 0) {
      const next = await scan.next()
      if (next.done) {
        segments.push(...next.value.segments)
        break
      }
      const part = firstRows(next.value, left)
      left -= part.rowIds.length
      yield part
    }
  }
  return { segments }
}

function firstRows(part: ScanPart, count: number): ScanPart {
  if (part.rowIds.length <= count) return part
  return { rowIds: part.rowIds.subarray(0, count), batch: sliceBatch(part.batch, 0, count) }
}

async function* mergeOrdered(
  scans: readonly Scan[],
  orderBy: readonly SortKey[],
  output: readonly number[],
  limit: number,
): Scan {
  const segments: SegmentReport[] = []
  const order = orderOf(orderBy, output)
  const cursors: Cursor[] = []
  const starting = scans.map((scan) => ({ scan, next: scan.next() }))
  // When several fail (a cancel), one of them is told.
  for (const { next } of starting) next.catch(() => {})
  for (const { scan, next } of starting) {
    const cursor = new Cursor(scan)
    if (cursor.take(await next, segments)) cursors.push(cursor)
  }
  let picked: Picked[] = []
  let left = limit
  while (cursors.length > 0 && left > 0) {
    const least = cursors.reduce((a, b) => (order(b, a) < 0 ? b : a))
    picked.push({ batch: least.batch, row: least.row, rowId: least.rowId })
    left -= 1
    if (picked.length === partRowCountMax) {
      yield partOf(picked)
      picked = []
    }
    if (least.advance()) continue
    if (left === 0) break
    const next = await least.scan.next()
    if (!least.take(next, segments)) cursors.splice(cursors.indexOf(least), 1)
  }
  if (picked.length > 0) yield partOf(picked)
  // What they have left is little: for the summaries.
  if (limit <= partRowCountMax) {
    for (const { scan } of cursors) {
      let next = await scan.next()
      while (next.done !== true) next = await scan.next()
      segments.push(...next.value.segments)
    }
  }
  return { segments }
}

interface Picked extends PickedRow {
  readonly rowId: number
}

function partOf(picked: readonly Picked[]): ScanPart {
  const [first] = picked
  invariant('TOPK-1', first !== undefined, 'part without rows')
  return {
    rowIds: Float64Array.from(picked, ({ rowId }) => rowId),
    batch: gatherParts(picked, first.batch),
  }
}

/** A place in a scan. */
class Cursor {
  readonly scan: Scan
  #part: ScanPart = { rowIds: new Float64Array(0), batch: { rowCount: 0, columns: [] } }
  row = 0

  constructor(scan: Scan) {
    this.scan = scan
  }

  get batch() {
    return this.#part.batch
  }
  get rowId() {
    return this.#part.rowIds[this.row] ?? 0
  }

  /** @returns false when the scan has ended */
  take(next: IteratorResult<ScanPart, ScanSummary>, segments: SegmentReport[]): boolean {
    if (next.done) {
      segments.push(...next.value.segments)
      return false
    }
    invariant('TOPK-1', next.value.rowIds.length > 0, 'part without rows')
    this.#part = next.value
    this.row = 0
    return true
  }

  /** @returns false at the end of the part */
  advance(): boolean {
    this.row += 1
    return this.row < this.#part.rowIds.length
  }
}

function orderOf(
  orderBy: readonly SortKey[],
  output: readonly number[],
): (a: Cursor, b: Cursor) => number {
  const keys = orderBy.map((key) => {
    const position = output.indexOf(key.attnum)
    invariant('TOPK-1', position >= 0, () => `sort key ${key.attnum} is not in the output`)
    return { ...key, position }
  })
  return (a, b) => {
    for (const key of keys) {
      const columnA = a.batch.columns[key.position]
      const columnB = b.batch.columns[key.position]
      invariant('TOPK-1', columnA !== undefined && columnB !== undefined, 'sort column missing')
      const order = compareSortRows(columnA, a.row, columnB, b.row, key)
      if (order !== 0) return order
    }
    return a.rowId - b.rowId
  }
}

export function compareSortRows(
  a: Column,
  rowA: number,
  b: Column,
  rowB: number,
  { as, descending, nullsFirst }: SortKey,
): number {
  const absentA = isNull(a, rowA)
  const absentB = isNull(b, rowB)
  if (absentA || absentB) {
    if (absentA && absentB) return 0
    return absentA === nullsFirst ? -1 : 1
  }
  const valueA = valueAt(a, rowA)
  const valueB = valueAt(b, rowB)
  const order =
    as === 'native' && valueA instanceof Uint8Array && valueB instanceof Uint8Array
      ? compareBytes(valueA, valueB)
      : compareValues(valueA, valueB, as, false)
  return descending ? -order : order
}

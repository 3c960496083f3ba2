/**
 * Fetching the rows of a scan: the committed ones from every shard at one timestamp, then the transaction's own.
 */
import { notSupported } from '#base/errors.js'
import type { Timestamp } from '#base/timestamp.js'
import { takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import { native } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'
import type { ScanFragment, SegmentReport } from '#engine/plan/fragment.js'
import { scanShards } from '#nodes/proxy/distribute/fan-out.js'
import { type RoutedTable, routeKeys } from '#nodes/proxy/distribute/route.js'
import type { KeyLookup, ScanPlan } from '#nodes/proxy/plan/query-plan.js'
import { arrayElements, type SlotValues } from '#nodes/proxy/plan/slots.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { added, ownBatches } from '#nodes/proxy/statements/own-batches.js'
import type { TableColumn, TableInfo, TableLoad } from '#postgres/contract.js'

/** Rows of one table, in the columns asked for; the transaction's own rows come last. */
export interface LoadedRows {
  readonly table: TableInfo
  readonly attnums: readonly number[]
  /** Of the stored rows, in order; own rows have none. */
  readonly rowIds: Float64Array
  readonly batches: readonly ColumnBatch[]
  readonly rowCount: number
  /** All rows of the table, with all columns. */
  readonly isWhole?: boolean
}

export function shardsOf(table: TableInfo): number {
  return Number(table.options.get('shards') ?? '1')
}

/** As rows are routed. */
export function routedTable(table: TableInfo): RoutedTable {
  return { columns: storedColumns(table), keys: table.keys, shardCount: shardsOf(table) }
}

export function allShards(table: TableInfo): readonly number[] {
  return Array.from({ length: shardsOf(table) }, (_, shard) => shard)
}

/** Only those that can have rows with the keys: a primary key lies where its hash says. */
function shardsOfKeys(table: TableInfo, keys: ScanFragment['keys']): readonly number[] {
  const shards = allShards(table)
  const index = table.keys.find((key) => key.indexOid === keys?.indexOid)
  if (keys === undefined || index?.primary !== true || shards.length === 1) return shards
  return routeKeys(routedTable(table), index, keys.values)
}

/** The columns that storage has: virtual generated ones are computed by PostgreSQL. */
export function storedColumns(table: TableInfo): readonly TableColumn[] {
  return table.columns.filter((column) => column.generated !== 'v')
}

export interface ReadOptions {
  readonly filter?: FilterNode | undefined
  readonly allowedRowIds?: Float64Array | undefined
  readonly keys?: ScanFragment['keys']
  readonly orderBy?: ScanFragment['orderBy']
  readonly limit?: number | undefined
  readonly onSegments?: ((segments: readonly SegmentReport[]) => void) | undefined
}

/** Committed rows only, minus those the transaction deleted, part by part. */
export async function* readStored(
  execution: Execution,
  table: TableInfo,
  attnums: readonly number[],
  readAt: Timestamp,
  options: ReadOptions,
): AsyncGenerator<{ readonly rowIds: Float64Array; readonly batch: ColumnBatch }> {
  const overlay = execution.transaction.overlays.get(table.oid)
  if (overlay?.truncated === true) return
  const committed = execution.environment.postgres.catalog().tables.get(table.oid)
  if (committed === undefined) return
  const known = new Set(committed.columns.map((column) => column.attnum))
  const output = attnums.filter((attnum) => known.has(attnum))
  const deletes = overlay?.deletes()
  const scan = scanShards(
    execution.environment.streaming,
    {
      tableId: table.oid,
      readAt,
      filter: options.filter,
      allowedRowIds: options.allowedRowIds,
      excludedRowIds: deletes !== undefined && deletes.length > 0 ? deletes : undefined,
      output,
      keys: options.keys,
      orderBy: options.orderBy,
      limit: options.limit,
    },
    shardsOfKeys(committed, options.keys),
    execution.context,
  )
  try {
    for (;;) {
      const next = await scan.next()
      if (next.done === true) {
        options.onSegments?.(next.value.segments)
        return
      }
      const { rowIds, batch } = next.value
      yield {
        rowIds,
        batch:
          output.length === attnums.length ? batch : withMissing(batch, output, attnums, table),
      }
    }
  } finally {
    // Whoever stops reading early (LIMIT, an error, a closed cursor) lets the view go.
    await scan.return({ segments: [] })
  }
}

/** Columns that the open transaction has added: every stored row has their default. */
function withMissing(
  batch: ColumnBatch,
  output: readonly number[],
  attnums: readonly number[],
  table: TableInfo,
): ColumnBatch {
  const columns = attnums.map(
    (attnum) => batch.columns[output.indexOf(attnum)] ?? added(table, attnum, batch.rowCount),
  )
  return { rowCount: batch.rowCount, columns }
}

/** The transaction's own rows, in the given columns. */
export function readOwn(
  execution: Execution,
  table: TableInfo,
  attnums: readonly number[],
): readonly ColumnBatch[] {
  const overlay = execution.transaction.overlays.get(table.oid)
  return overlay === undefined || overlay.rowCount === 0 ? [] : ownBatches(table, overlay, attnums)
}

/** Everything that the scan's native condition lets through (a superset of what the statement will see). */
export async function loadScan(
  execution: Execution,
  scan: ScanPlan,
  values: SlotValues,
  readAt: Timestamp,
  attnums: readonly number[] = scan.attnums,
): Promise<LoadedRows> {
  return loadRows(execution, scan.table, attnums, readAt, {
    filter: scan.filter?.(values),
    keys: keysOf(scan.key, values),
  })
}

export async function loadRows(
  execution: Execution,
  table: TableInfo,
  attnums: readonly number[],
  readAt: Timestamp,
  options: ReadOptions,
): Promise<LoadedRows> {
  const rowIds: Float64Array[] = []
  const batches: ColumnBatch[] = []
  for await (const part of readStored(execution, table, attnums, readAt, options)) {
    rowIds.push(part.rowIds)
    batches.push(part.batch)
  }
  const own = readOwn(execution, table, attnums)
  return {
    table,
    attnums,
    rowIds: concatRowIds(rowIds),
    batches: [...batches, ...own],
    rowCount: [...batches, ...own].reduce((sum, batch) => sum + batch.rowCount, 0),
  }
}

/** Without some of the stored rows. */
export function withoutRows(loaded: LoadedRows, isLeftOut: (rowId: number) => boolean): LoadedRows {
  const rowIds = loaded.rowIds.filter((rowId) => !isLeftOut(rowId))
  if (rowIds.length === loaded.rowIds.length) return loaded
  let base = 0
  const batches = loaded.batches.flatMap((batch) => {
    const kept: number[] = []
    for (let row = 0; row < batch.rowCount; row += 1) {
      const rowId = loaded.rowIds[base + row]
      if (rowId === undefined || !isLeftOut(rowId)) kept.push(row)
    }
    base += batch.rowCount
    return kept.length === 0 ? [] : [takeRows(batch, Uint32Array.from(kept))]
  })
  const rowCount = batches.reduce((sum, batch) => sum + batch.rowCount, 0)
  return { ...loaded, rowIds, batches, rowCount }
}

export function concatRowIds(parts: readonly Float64Array[]): Float64Array {
  const [first] = parts
  if (parts.length === 1 && first !== undefined) return first
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** The look-up's key values; undefined when there is none to make (a NULL never equals a key: the filter says so). */
export function keysOf(key: KeyLookup | undefined, values: SlotValues): ScanFragment['keys'] {
  if (key === undefined) return undefined
  const first = key.slots[0]
  if (key.array && first !== undefined) {
    const array = values[first] ?? null
    const elements = array === null ? [] : arrayElements(array)
    const keys = elements.flatMap((element) => {
      const datum = element === null ? undefined : toKeyType(element, key.columns[0])
      return datum === undefined ? [] : [[datum]]
    })
    return { indexOid: key.indexOid, values: keys }
  }
  const datums: Datum[] = []
  for (const [i, slot] of key.slots.entries()) {
    const value = values[slot] ?? null
    const datum = value === null ? undefined : toKeyType(value, key.columns[i])
    if (datum === undefined) return { indexOid: key.indexOid, values: [] }
    datums.push(datum)
  }
  return { indexOid: key.indexOid, values: [datums] }
}

const integerSizes: Readonly<Record<string, number>> = { int2: 2, int4: 4, int8: 8 }

/** An integer of another width becomes the column's; undefined when it does not fit, and so equals no key. */
export function toKeyType(
  datum: Uint8Array,
  column: TableColumn | undefined,
): Uint8Array | undefined {
  const size = integerSizes[column?.typeName ?? '']
  if (size === undefined || size === datum.byteLength) return datum
  const view = new DataView(datum.buffer, datum.byteOffset, datum.byteLength)
  const value =
    datum.byteLength === 8
      ? view.getBigInt64(0)
      : BigInt(datum.byteLength === 4 ? view.getInt32(0) : view.getInt16(0))
  const out = new DataView(new ArrayBuffer(size))
  if (BigInt.asIntN(size * 8, value) !== value) return undefined
  if (size === 8) out.setBigInt64(0, value)
  else if (size === 4) out.setInt32(0, Number(value))
  else out.setInt16(0, Number(value))
  return new Uint8Array(out.buffer)
}

/** Rows as the embedded PostgreSQL takes them. */
export function toTableLoad(rows: LoadedRows): TableLoad {
  const columns = rows.attnums.map((attnum) =>
    rows.table.columns.find((column) => column.attnum === attnum),
  )
  const pieces = rows.batches.map((batch) =>
    native.encodeCopyBinary(
      batch.columns.map((column, i) => ({ ...column, typeName: columns[i]?.typeName ?? '' })),
      batch.rowCount,
    ),
  )
  return {
    tableOid: rows.table.oid,
    attnums: rows.attnums,
    tuples: pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces),
    rowCount: rows.rowCount,
    isWhole: rows.isWhole === true,
  }
}

/**
 * Row ids (ascending) of the stored rows that satisfy a condition only PostgreSQL can judge: the columns it reads are
 * loaded without the rest, and the condition is evaluated row by row.
 */
export async function judgeResidual(
  execution: Execution,
  scan: ScanPlan,
  values: SlotValues,
  readAt: Timestamp,
): Promise<Float64Array> {
  const { residual } = scan
  if (residual === undefined) throw notSupported('this condition cannot be evaluated row by row')
  const rows = await loadRows(execution, scan.table, residual.attnums, readAt, {
    filter: scan.filter?.(values),
  })
  if (rows.rowCount === 0) return new Float64Array()
  const usesParameters = /\$\d/.test(residual.sql)
  const evaluation = evaluationOf(
    execution,
    {
      sql: residual.sql,
      parameterTypes: usesParameters ? execution.bound.parameterTypes : [],
      parameters: usesParameters ? execution.bound.parameters : [],
      parameterFormats: usesParameters ? execution.bound.parameterFormats : [],
      resultFormats: [1],
    },
    [toTableLoad(rows)],
  )
  // Only a table whose changes are captured starts with an empty heap, so that its rows come in the order of the load;
  // elsewhere they fill gaps that earlier statements have left.
  const result = await execution.environment.postgres.evaluate(
    { ...evaluation, captureTables: [scan.table.oid] },
    execution.context,
  )
  const allowed: number[] = []
  let index = 0
  for (const [verdict] of dataRows(result)) {
    const rowId = rows.rowIds[index]
    if (verdict?.[0] === 1 && rowId !== undefined) allowed.push(rowId)
    index += 1
  }
  return Float64Array.from(allowed).sort()
}

/** Of all scans on one table: what any of them needs. */
export async function loadTables(
  execution: Execution,
  scans: readonly ScanPlan[],
  values: SlotValues,
  readAt: Timestamp,
): Promise<readonly LoadedRows[]> {
  const byTable = new Map<number, ScanPlan[]>()
  for (const scan of scans)
    byTable.set(scan.table.oid, [...(byTable.get(scan.table.oid) ?? []), scan])
  const loaded: LoadedRows[] = []
  for (const group of byTable.values()) {
    const [first] = group
    if (first === undefined) continue
    const attnums = [...new Set(group.flatMap((scan) => scan.attnums))].sort((a, b) => a - b)
    if (group.length === 1) {
      loaded.push(await loadScan(execution, first, values, readAt, attnums))
      continue
    }
    const filters = group.map((scan) => scan.filter?.(values))
    const either = filters.every((filter) => filter !== undefined)
      ? ({ op: 'or', args: filters } as FilterNode)
      : undefined
    loaded.push(await loadRows(execution, first.table, attnums, readAt, { filter: either }))
  }
  return loaded
}

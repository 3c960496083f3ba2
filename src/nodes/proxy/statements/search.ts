/**
 * ★ Nearest neighbours: one fragment per shard of each scanned table, parts reduced by distance. The winners are written
 * natively when the select list is columns and the distance; otherwise the statement runs verbatim over them.
 */
import type { Timestamp } from '#base/timestamp.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { SearchMode } from '#engine/index/native.js'
import type { FilterNode } from '#engine/plan/filter.js'
import type { SearchPart, SegmentReport } from '#engine/plan/fragment.js'
import { aggregateShards, searchShards } from '#nodes/proxy/distribute/fan-out.js'
import { queryVector } from '#nodes/proxy/plan/filter-compile.js'
import type {
  OutputColumn,
  PreparedPlan,
  ScanPlan,
  SearchPlan,
} from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { canEncode, encodeRows, formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import { limitsOf } from '#nodes/proxy/statements/limits.js'
import {
  allShards,
  judgeResidual,
  type LoadedRows,
  loadTables,
  readOwn,
} from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { rowsResult } from '#nodes/proxy/statements/rows-result.js'
import { overRows, verbatim } from '#nodes/proxy/statements/verbatim.js'

export interface SearchReport {
  readonly scan: ScanPlan
  readonly segments: readonly SegmentReport[]
}

/** More than any vector search should return; beyond it the statement is a sort of everything. */
const searchLimitMax = 100_000

export async function search(
  plan: SearchPlan,
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
  onReport?: (report: SearchReport) => void,
): Promise<Result> {
  const { limit, offset } = limitsOf(plan.limit, values)
  const wanted = limit + offset
  const queryDatum = values[plan.querySlot] ?? null
  if (limit === 0) return rowsResult(prepared, execution, [])
  // A NULL query vector orders nothing: PostgreSQL may pick any rows.
  if (queryDatum === null || wanted > searchLimitMax)
    return verbatim(plan.scans, values, prepared, execution)
  const readAt = await chooseReadTimestamp(execution)
  const dirty = plan.scans.some((scan) => execution.transaction.hasWrites(scan.table.oid))
  const formats = formatsOf(execution.bound.resultFormats, prepared.description.fields.length)
  const typeNames = plan.output?.map((column) =>
    column.kind === 'column' ? column.column.typeName : 'float8',
  )
  const native =
    plan.output !== undefined &&
    !dirty &&
    canEncode(typeNames ?? [], formats, execution.settings.types())
  const output = plan.output !== undefined && native ? columnAttnums(plan.output) : undefined

  const found: { readonly scan: ScanPlan; readonly part: SearchPart }[] = []
  for (const scan of plan.scans) {
    const part = await searchScan(
      plan,
      scan,
      values,
      queryDatum,
      wanted,
      readAt,
      execution,
      output ?? scan.attnums,
    )
    found.push({ scan, part })
    onReport?.({ scan, segments: part.segments })
  }
  const hits = found.reduce((sum, { part }) => sum + part.distances.length, 0)
  // Fewer hits than wanted, or rows without a distance come first: rows whose vector is NULL belong in the result.
  if (hits < wanted || plan.nullsFirst || plan.nansFirst) {
    const missing =
      hits < wanted
        ? (await countPassing(plan, values, readAt, execution, undefined)) > hits
        : (await hasNullFirst(plan, values, readAt, execution)) ||
          (await hasNanFirst(plan, values, queryDatum, readAt, execution))
    if (missing) {
      return overRows(await loadTables(execution, plan.scans, values, readAt), prepared, execution)
    }
  }
  if (native && hits === 0) return rowsResult(prepared, execution, [])
  const [only] = found
  if (
    output !== undefined &&
    plan.output !== undefined &&
    only !== undefined &&
    found.length === 1
  ) {
    const columns = plan.output.map((column) => outputColumn(column, only.part, output))
    const rows = rowRange(offset, Math.min(wanted, only.part.distances.length))
    return rowsResult(prepared, execution, [
      encodeRows(columns, typeNames ?? [], formats, only.part.batch.rowCount, rows),
    ])
  }
  return overRows(winnersOf(found, execution), prepared, execution)
}

/** Winners first (one batch), then the transaction's own rows. */
function winnersOf(
  found: readonly { readonly scan: ScanPlan; readonly part: SearchPart }[],
  execution: Execution,
): readonly LoadedRows[] {
  return found.map(({ scan, part }) => {
    const own = readOwn(execution, scan.table, scan.attnums)
    return {
      table: scan.table,
      attnums: scan.attnums,
      rowIds: part.rowIds,
      batches: [part.batch, ...own],
      rowCount: part.batch.rowCount + own.reduce((sum, batch) => sum + batch.rowCount, 0),
    }
  })
}

/**
 * The nearest `wanted` rows of a part of a plan (more when some are tied), for a statement that is evaluated over them.
 * @returns undefined when the part must see every row: no query vector, too many wanted, rows without a distance
 */
export async function searchRows(
  plan: SearchPlan,
  values: SlotValues,
  wanted: number,
  readAt: Timestamp,
  execution: Execution,
): Promise<readonly LoadedRows[] | undefined> {
  const queryDatum = values[plan.querySlot] ?? null
  if (queryDatum === null || wanted > searchLimitMax || wanted < 1) return undefined
  const found: { readonly scan: ScanPlan; readonly part: SearchPart }[] = []
  for (const scan of plan.scans) {
    const part = await searchScan(
      { ...plan, ties: true },
      scan,
      values,
      queryDatum,
      wanted,
      readAt,
      execution,
      scan.attnums,
    )
    found.push({ scan, part })
  }
  const hits = found.reduce((sum, { part }) => sum + part.distances.length, 0)
  const missing =
    (hits < wanted && (await countPassing(plan, values, readAt, execution, undefined)) > hits) ||
    (await hasNullFirst(plan, values, readAt, execution)) ||
    (await hasNanFirst(plan, values, queryDatum, readAt, execution))
  return missing ? undefined : winnersOf(found, execution)
}

async function searchScan(
  plan: SearchPlan,
  scan: ScanPlan,
  values: SlotValues,
  queryDatum: Uint8Array,
  wanted: number,
  readAt: Timestamp,
  execution: Execution,
  output: readonly number[],
): Promise<SearchPart> {
  const column = scan.table.columns.find((candidate) => candidate.attnum === plan.attnum)
  const query = column === undefined ? new Float32Array() : queryVector(queryDatum, column)
  const allowedRowIds = scan.filterComplete
    ? undefined
    : await judgeResidual(execution, scan, values, readAt)
  const overlay = execution.transaction.overlays.get(scan.table.oid)
  if (
    overlay?.truncated === true ||
    !execution.environment.postgres.catalog().tables.has(scan.table.oid)
  ) {
    return {
      distances: new Float64Array(),
      rowIds: new Float64Array(),
      batch: { rowCount: 0, columns: [] },
      segments: [],
    }
  }
  const deletes = overlay?.deletes()
  const fragment = {
    tableId: scan.table.oid,
    readAt,
    filter: scan.filter?.(values),
    allowedRowIds,
    excludedRowIds: deletes !== undefined && deletes.length > 0 ? deletes : undefined,
    attnum: plan.attnum,
    metric: plan.metric,
    query,
    efSearch: execution.settings.number('hnsw.ef_search'),
    mode: searchMode(execution),
    output,
  }
  const shards = allShards(scan.table)
  for (let k = plan.ties ? wanted + 16 : wanted; ; k *= 2) {
    const { streaming } = execution.environment
    const part = await searchShards(streaming, { ...fragment, k }, shards, execution.context)
    if (!plan.ties || !tiedBeyond(part.distances, wanted, k)) return part
  }
}

export function searchMode(execution: Execution): SearchMode {
  return execution.settings.isOff('enable_indexscan') ? 'exact' : 'auto'
}

/** Whether rows that were not fetched may be tied with the last wanted one (also after rounding to float4). */
function tiedBeyond(distances: Float64Array, wanted: number, k: number): boolean {
  const edge = distances[wanted - 1]
  const last = distances[k - 1]
  if (edge === undefined || last === undefined) return false
  // Infinite distances are tied too.
  return last === edge || last - edge <= 1e-6 * (1 + Math.abs(edge))
}

function columnAttnums(output: readonly OutputColumn[]): readonly number[] {
  const attnums = output.flatMap((column) =>
    column.kind === 'column' ? [column.column.attnum] : [],
  )
  return [...new Set(attnums)]
}

function outputColumn(
  output: OutputColumn,
  part: SearchPart,
  attnums: readonly number[],
): ColumnBatch['columns'][number] {
  const column =
    output.kind === 'column' ? part.batch.columns[attnums.indexOf(output.column.attnum)] : undefined
  return column ?? { kind: 'float64', length: part.distances.length, values: part.distances }
}

function rowRange(from: number, to: number): Uint32Array {
  const rows = new Uint32Array(Math.max(0, to - from))
  for (let i = 0; i < rows.length; i += 1) rows[i] = from + i
  return rows
}

/** Whether rows without a vector precede what was found. */
async function hasNullFirst(
  plan: SearchPlan,
  values: SlotValues,
  readAt: Timestamp,
  execution: Execution,
): Promise<boolean> {
  const column = plan.scans[0]?.table.columns.find((candidate) => candidate.attnum === plan.attnum)
  if (!plan.nullsFirst || column?.notNull === true) return false
  return (
    (await countPassing(plan, values, readAt, execution, { op: 'isNull', attnum: plan.attnum })) > 0
  )
}

/**
 * Whether rows with the distance NaN (zero vector under cosine, infinite products) precede what was found. An index holds
 * none of them, as in pgvector; without one, or where exactness was asked for, they are looked for.
 */
async function hasNanFirst(
  plan: SearchPlan,
  values: SlotValues,
  queryDatum: Uint8Array,
  readAt: Timestamp,
  execution: Execution,
): Promise<boolean> {
  const column = plan.scans[0]?.table.columns.find((candidate) => candidate.attnum === plan.attnum)
  const mayBeNan = plan.metric === 'cosine' || plan.metric === 'inner'
  if (!plan.nansFirst || column === undefined || !mayBeNan) return false
  if (plan.hasIndex && searchMode(execution) === 'auto') return false
  const isNan: FilterNode = {
    op: 'distance',
    attnum: plan.attnum,
    metric: plan.metric,
    query: queryVector(queryDatum, column),
    comparison: '=',
    radius: Number.NaN,
  }
  return (await countPassing(plan, values, readAt, execution, isNan)) > 0
}

/** Stored rows that pass the native part of the condition, and another one. */
async function countPassing(
  plan: SearchPlan,
  values: SlotValues,
  readAt: Timestamp,
  execution: Execution,
  further: FilterNode | undefined,
): Promise<number> {
  let passing = 0
  for (const scan of plan.scans) {
    if (!execution.environment.postgres.catalog().tables.has(scan.table.oid)) continue
    const args = [scan.filter?.(values), further].filter((one) => one !== undefined)
    const filter: FilterNode | undefined = args.length > 1 ? { op: 'and', args } : args[0]
    const part = await aggregateShards(
      execution.environment.streaming,
      {
        tableId: scan.table.oid,
        readAt,
        filter,
        aggregates: [{ kind: 'countStar', attnum: 0, as: 'native' }],
      },
      allShards(scan.table),
      execution.context,
    )
    passing += part.values[0]?.count ?? 0
  }
  return passing
}

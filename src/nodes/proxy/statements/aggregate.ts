/** count, sum, min and max over one table (or its partitions): partial aggregates from every shard, then one row. */
import type { Datum } from '#engine/columnar/column.js'
import { float64Datum, int64Datum } from '#engine/columnar/read-datum.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import type { AggregateSpec, AggregateValue } from '#engine/index/native.js'
import { filterValueToDatum } from '#engine/plan/filter-value.js'
import type { SegmentReport } from '#engine/plan/fragment.js'
import { formatText } from '#engine/types/format-text.js'
import { parseText } from '#engine/types/parse-text.js'
import { writeDataRow } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import { aggregateShards } from '#nodes/proxy/distribute/fan-out.js'
import type { AggregatePlan, PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import { allShards, judgeResidual } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { rowsResult } from '#nodes/proxy/statements/rows-result.js'
import { verbatim } from '#nodes/proxy/statements/verbatim.js'
import type { TableColumn } from '#postgres/contract.js'

export async function aggregate(
  plan: AggregatePlan,
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
  onSegments?: (segments: readonly SegmentReport[]) => void,
): Promise<Result> {
  if (plan.scans.some((scan) => execution.transaction.hasWrites(scan.table.oid))) {
    return verbatim(plan.scans, values, prepared, execution)
  }
  const readAt = await chooseReadTimestamp(execution)
  const parts: (readonly AggregateValue[])[] = []
  for (const scan of plan.scans) {
    if (!execution.environment.postgres.catalog().tables.has(scan.table.oid)) continue
    const allowedRowIds = scan.filterComplete
      ? undefined
      : await judgeResidual(execution, scan, values, readAt)
    const part = await aggregateShards(
      execution.environment.streaming,
      {
        tableId: scan.table.oid,
        readAt,
        filter: scan.filter?.(values),
        allowedRowIds,
        aggregates: plan.aggregates,
      },
      allShards(scan.table),
      execution.context,
    )
    parts.push(part.values)
    onSegments?.(part.segments)
  }
  if (parts.length === 0) return verbatim(plan.scans, values, prepared, execution)
  const reduced = reduceAggregates(parts, plan.aggregates)
  const table = plan.scans[0]?.table
  const datums = plan.aggregates.map((spec, i): Datum | undefined => {
    const column = table?.columns.find((candidate) => candidate.attnum === spec.attnum)
    return toDatum(spec, reduced[i], column, typeNameOf(prepared, execution, i))
  })
  const formats = formatsOf(execution.bound.resultFormats, datums.length)
  const row: (Uint8Array | string | null)[] = []
  for (const [i, datum] of datums.entries()) {
    const value =
      datum === null || datum === undefined || formats[i] === 1
        ? datum
        : formatText(typeNameOf(prepared, execution, i), datum, execution.settings.types())
    if (value === undefined) return verbatim(plan.scans, values, prepared, execution)
    row.push(value)
  }
  const writer = new ByteWriter()
  writeDataRow(writer, row)
  return rowsResult(prepared, execution, [{ data: writer.take(), count: 1 }])
}

function typeNameOf(prepared: PreparedPlan, execution: Execution, field: number): string {
  const oid = prepared.description.fields[field]?.typeOid
  return oid === undefined ? '' : (execution.catalog.typeNames.get(oid) ?? '')
}

function toDatum(
  spec: AggregateSpec,
  value: AggregateValue | undefined,
  column: TableColumn | undefined,
  resultType: string,
): Datum | undefined {
  if (value === undefined) return undefined
  if (spec.kind === 'countStar' || spec.kind === 'count') return int64Datum(BigInt(value.count))
  if (value.value === null || value.count === 0) return null
  if (spec.kind === 'sum') {
    if (typeof value.value === 'number') return float64Datum(value.value)
    if (typeof value.value !== 'string') return undefined
    return parseText(resultType, -1, value.value)
  }
  if (typeof value.value === 'string' || column === undefined) return undefined
  return filterValueToDatum(column, value.value)
}

/** Look-ups by key and filtered scans with ORDER BY columns and LIMIT: filter, order and limit run in the segments. */
import type { Timestamp } from '#base/timestamp.js'
import { takeRows } from '#engine/columnar/batch.js'
import type { FilteredScanPlan, PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import type { SlotValues } from '#nodes/proxy/plan/slots.js'
import { canEncode, encodeRows, formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import { chooseReadTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import { limitsOf } from '#nodes/proxy/statements/limits.js'
import {
  judgeResidual,
  keysOf,
  loadRows,
  type ReadOptions,
  readStored,
} from '#nodes/proxy/statements/read-rows.js'
import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'
import { rowsResult } from '#nodes/proxy/statements/rows-result.js'
import { overRows, verbatim } from '#nodes/proxy/statements/verbatim.js'

const everyRow = 0x7fff_ffff

export async function filteredScan(
  plan: FilteredScanPlan,
  values: SlotValues,
  prepared: PreparedPlan,
  execution: Execution,
  onSegments?: ReadOptions['onSegments'],
): Promise<Result> {
  const { scan, orderBy } = plan
  const { limit, offset } = limitsOf(plan.limit, values)
  if (limit === 0) return rowsResult(prepared, execution, [])
  if (execution.transaction.hasWrites(scan.table.oid)) {
    return verbatim([scan], values, prepared, execution)
  }
  const readAt = await chooseReadTimestamp(execution)
  const wanted = limit + offset
  const options: ReadOptions = {
    filter: scan.filter?.(values),
    allowedRowIds: scan.filterComplete
      ? undefined
      : await judgeResidual(execution, scan, values, readAt),
    keys: keysOf(scan.key, values),
    orderBy: orderBy.length > 0 ? orderBy : undefined,
    limit: Number.isFinite(wanted)
      ? Math.min(wanted, everyRow)
      : orderBy.length > 0
        ? everyRow
        : undefined,
    onSegments,
  }
  const formats = formatsOf(execution.bound.resultFormats, prepared.description.fields.length)
  const typeNames = plan.output?.flatMap((column) =>
    column.kind === 'column' ? [column.column.typeName] : [],
  )
  if (typeNames === undefined || !canEncode(typeNames, formats, execution.settings.types())) {
    return overRows(
      [await loadRows(execution, scan.table, scan.attnums, readAt, options)],
      prepared,
      execution,
    )
  }
  return rowsResult(
    prepared,
    execution,
    encodeParts(plan, typeNames, formats, offset, wanted, options, readAt, execution),
  )
}

async function* encodeParts(
  plan: FilteredScanPlan,
  typeNames: readonly string[],
  formats: readonly number[],
  offset: number,
  wanted: number,
  options: ReadOptions,
  readAt: Timestamp,
  execution: Execution,
): AsyncGenerator<RowChunk> {
  const output = (plan.output ?? []).flatMap((column) =>
    column.kind === 'column' ? [column.column.attnum] : [],
  )
  const attnums = [...new Set(output)]
  const positions = output.map((attnum) => attnums.indexOf(attnum))
  let seen = 0
  for await (const { batch } of readStored(execution, plan.scan.table, attnums, readAt, options)) {
    const from = Math.max(0, offset - seen)
    const to = Math.min(batch.rowCount, wanted - seen)
    seen += batch.rowCount
    if (to > from) {
      const whole = from === 0 && to === batch.rowCount
      const rows = whole ? undefined : Uint32Array.from({ length: to - from }, (_, i) => from + i)
      const used = rows === undefined ? batch : takeRows(batch, rows)
      const columns = positions.flatMap((position) => {
        const column = used.columns[position]
        return column === undefined ? [] : [column]
      })
      yield encodeRows(columns, typeNames, formats, used.rowCount)
    }
  }
}

/** The answer of a statement that returns rows: its columns as the client asked for them. */
import type { FieldDescription as WireField } from '#net/pgwire/backend.js'
import type { PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import { formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { Result, RowChunk } from '#nodes/proxy/statements/result.js'

export function wireFields(
  prepared: PreparedPlan,
  resultFormats: readonly number[],
): readonly WireField[] {
  const { fields } = prepared.description
  const formats = formatsOf(resultFormats, fields.length)
  return fields.map((field, i) => ({ ...field, format: formats[i] ?? 0 }))
}

export function rowsResult(
  prepared: PreparedPlan,
  execution: Execution,
  rows: AsyncIterable<RowChunk> | readonly RowChunk[],
): Result {
  return {
    fields: wireFields(prepared, execution.bound.resultFormats),
    rows,
    tag: (rowCount) => `SELECT ${rowCount}`,
  }
}

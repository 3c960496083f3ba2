/**
 * INSERT … VALUES whose values are plain (constants, parameters, DEFAULT) into a table that needs nothing of PostgreSQL:
 * the rows are made by the value codecs. Everything else runs as any statement that changes rows (modify.ts).
 */
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { conflictError, findConflict } from '#nodes/proxy/statements/check-keys.js'
import { checkNotNull } from '#nodes/proxy/statements/check-not-null.js'
import { canEncode, encodeRows, formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { defaultsFor } from '#nodes/proxy/statements/insert-defaults.js'
import {
  type InsertPlan,
  insertPlan,
  type ValueSource,
} from '#nodes/proxy/statements/insert-plan.js'
import { insertValue, needsPostgresToRead } from '#nodes/proxy/statements/insert-value.js'
import { modify } from '#nodes/proxy/statements/modify.js'
import { storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'

export async function insert(execution: Execution): Promise<Result> {
  const plan = execution.transaction.readOnly ? undefined : await insertPlan(execution)
  if (plan === undefined) return modify(execution)
  const formats = formatsOf(execution.bound.resultFormats, plan.fields.length)
  const typeNames = plan.returning.map((column) => column.typeName)
  if (!canEncode(typeNames, formats, execution.settings.types())) return modify(execution)
  const batch = await makeRows(execution, plan)
  if (batch === undefined) return modify(execution)
  checkNotNull(plan.table, batch)
  const conflict = await findConflict(execution, plan.table, batch, [])
  if (conflict !== undefined) throw conflictError(plan.table, conflict, execution.settings)
  const stored = storedColumns(plan.table)
  execution.environment.tableCounters.of(plan.table.oid).inserted += batch.rowCount
  execution.transaction.overlay(plan.table.oid).insert(
    batch,
    stored.map((column) => column.attnum),
  )
  const tag = (): string => `INSERT 0 ${batch.rowCount}`
  if (plan.fields.length === 0) return { fields: undefined, rows: [], tag }
  const columns = plan.returning.flatMap((column) => batch.columns[stored.indexOf(column)] ?? [])
  return {
    fields: plan.fields.map((field, i) => ({ ...field, format: formats[i] ?? 0 })),
    rows: [encodeRows(columns, typeNames, formats, batch.rowCount)],
    tag,
  }
}

/** @returns undefined when a value turns out to be one that only PostgreSQL can read */
async function makeRows(execution: Execution, plan: InsertPlan): Promise<ColumnBatch | undefined> {
  const { table, rows } = plan
  const stored = storedColumns(table)
  // Values first: sequences are drawn from only when nothing else can go wrong.
  const given: (Datum | undefined)[][] = []
  for (const row of rows) {
    const values: (Datum | undefined)[] = []
    for (const [i, source] of row.entries()) {
      const column = stored[i]
      const value = column === undefined ? null : valueFrom(source, column, execution, plan)
      if (value === needsPostgresToRead) return undefined
      values.push(value)
    }
    given.push(values)
  }
  const defaulted = stored.filter((_, i) => rows.some((row) => row[i]?.kind === 'default'))
  const defaults = await defaultsFor(execution, defaulted, (column) => {
    const at = stored.indexOf(column)
    return rows.filter((row) => row[at]?.kind === 'default').length
  })
  const columns = stored.map((column, i) => {
    const builder = createColumnBuilder(column.kind, column.width, rows.length)
    const values = defaults.get(column.attnum)
    let drawn = 0
    for (const [r, row] of rows.entries()) {
      const isDefault = row[i]?.kind === 'default'
      builder.appendDatum(
        isDefault
          ? values === undefined
            ? null
            : (values[drawn++ % values.length] ?? null)
          : (given[r]?.[i] ?? null),
      )
    }
    return builder.finish()
  })
  return { rowCount: rows.length, columns }
}

function valueFrom(
  source: ValueSource,
  column: Parameters<typeof insertValue>[0],
  execution: Execution,
  plan: InsertPlan,
): Datum | typeof needsPostgresToRead {
  switch (source.kind) {
    case 'default':
      return null
    case 'constant':
      return source.datum
    case 'parameter':
      return insertValue(column, source.index, plan.parameterTypes, execution)
    default:
      return source satisfies never
  }
}

/**
 * INSERT … VALUES whose values are plain (constants, parameters, DEFAULT) into a table that needs nothing of PostgreSQL:
 * the rows are made by the value codecs. Everything else runs as any statement that changes rows (modify.ts).
 */
import { DatabaseError } from '#base/errors.js'
import type { Column, ColumnBatch, Datum } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import { conflictError, findConflict } from '#nodes/proxy/statements/check-keys.js'
import { checkNotNull } from '#nodes/proxy/statements/check-not-null.js'
import { canEncode, encodeRows, formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { defaultsFor } from '#nodes/proxy/statements/insert-defaults.js'
import { LiteralText, literalColumn } from '#nodes/proxy/statements/insert-literals.js'
import {
  type InsertPlan,
  insertPlan,
  type ValueSource,
} from '#nodes/proxy/statements/insert-plan.js'
import { insertValue, needsPostgresToRead } from '#nodes/proxy/statements/insert-value.js'
import { vectorColumn } from '#nodes/proxy/statements/insert-vectors.js'
import { modify } from '#nodes/proxy/statements/modify.js'
import { storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import type { TableColumn } from '#postgres/contract.js'

export async function insert(execution: Execution): Promise<Result> {
  if (execution.transaction.readOnly) return modify(execution)
  const made = (await literalRows(execution)) ?? (await plainRows(execution))
  if (made === undefined) return modify(execution)
  const { plan, batch, formats, typeNames } = made
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

interface Made {
  readonly plan: InsertPlan
  readonly batch: ColumnBatch
  /** Of what RETURNING gives. */
  readonly formats: readonly number[]
  readonly typeNames: readonly string[]
}

/** @returns undefined when PostgreSQL has to run the statement */
async function plainRows(execution: Execution): Promise<Made | undefined> {
  const plan = await insertPlan(execution)
  if (plan === undefined) return undefined
  let columns: GivenColumns | undefined
  try {
    columns = givenColumns(plan, (column, sources) => valueColumn(column, sources, plan, execution))
  } catch (error) {
    throwFirst(plan, execution)
    throw error
  }
  return columns && (await finishRows(execution, plan, plan.rows.length, columns))
}

/** The same of values in the text, by the plan of its template. What cannot be read so is judged as it stands. */
async function literalRows(execution: Execution): Promise<Made | undefined> {
  const { literals } = execution.parsed
  if (literals === undefined) return undefined
  const { parsedTemplate: parsed } = literals
  const bound = { ...execution.bound, sql: parsed.sql, parameterTypes: [] }
  const text = new LiteralText(literals)
  let plan: InsertPlan | undefined
  let columns: GivenColumns | undefined
  try {
    plan = await insertPlan({ ...execution, parsed, bound })
    columns =
      plan &&
      givenColumns(plan, (column, [source]) =>
        source?.kind === 'parameter'
          ? literalColumn(column, source.index - 1, text, execution)
          : undefined,
      )
  } catch (error) {
    // Whatever is wrong with a value: PostgreSQL says it with the position in the whole text.
    return undefinedIfRefused(error)
  }
  if (plan === undefined || columns === undefined) return undefined
  return await finishRows(execution, plan, literals.rows.length, columns)
}

/** Per stored column what the statement gives; undefined where all rows have the default. */
type GivenColumns = readonly (Column | undefined)[]

/** @param given undefined when a value turns out to be for PostgreSQL to read */
function givenColumns(
  plan: InsertPlan,
  given: (column: TableColumn, sources: readonly ValueSource[]) => Column | undefined,
): GivenColumns | undefined {
  const columns: (Column | undefined)[] = []
  for (const [i, column] of storedColumns(plan.table).entries()) {
    const sources = sourcesOf(plan, i)
    const isDefault = sources.every(isDefaultSource)
    const made = isDefault ? undefined : given(column, sources)
    if (made === undefined && !isDefault) return undefined
    columns.push(made)
  }
  return columns
}

/** Of several values that are wrong, the first in the statement is the one that is named. */
function throwFirst(plan: InsertPlan, execution: Execution): void {
  const stored = storedColumns(plan.table)
  for (const row of plan.rows) {
    for (const [i, source] of row.entries()) {
      const column = stored[i]
      if (column !== undefined) valueFrom(source, column, execution, plan)
    }
  }
}

/** Values come first: sequences are drawn from only when nothing else can go wrong. */
async function finishRows(
  execution: Execution,
  plan: InsertPlan,
  rowCount: number,
  given: GivenColumns,
): Promise<Made | undefined> {
  const formats = formatsOf(execution.bound.resultFormats, plan.fields.length)
  const typeNames = plan.returning.map((column) => column.typeName)
  if (!canEncode(typeNames, formats, execution.settings.types())) return undefined
  const stored = storedColumns(plan.table)
  // Of a template, one row stands for all.
  const share = rowCount / plan.rows.length
  const counts = stored.map((_, i) => sourcesOf(plan, i).filter(isDefaultSource).length * share)
  const defaults = await defaultsFor(
    execution,
    stored.filter((_, i) => counts[i] !== 0),
    (column) => counts[stored.indexOf(column)] ?? 0,
  )
  const columns = stored.map((column, i) => {
    const made = given[i]
    if (made !== undefined && counts[i] === 0) return made
    return withDefaults(column, made, sourcesOf(plan, i), defaults.get(column.attnum), rowCount)
  })
  return { plan, batch: { rowCount, columns }, formats, typeNames }
}

function sourcesOf(plan: InsertPlan, position: number): readonly ValueSource[] {
  return plan.rows.map((row) => row[position] ?? { kind: 'default' })
}

function isDefaultSource({ kind }: ValueSource): boolean {
  return kind === 'default'
}

function withDefaults(
  column: TableColumn,
  given: Column | undefined,
  sources: readonly ValueSource[],
  values: readonly Datum[] | undefined,
  rowCount: number,
): Column {
  const builder = createColumnBuilder(column.kind, column.width, rowCount)
  let drawn = 0
  for (let row = 0; row < rowCount; row += 1) {
    const isDefault = given === undefined || sources[row]?.kind === 'default'
    if (!isDefault) builder.appendColumn(given, row, row + 1)
    else
      builder.appendDatum(values === undefined ? null : (values[drawn++ % values.length] ?? null))
  }
  return builder.finish()
}

/** NULL where a row has the default. */
function valueColumn(
  column: TableColumn,
  sources: readonly ValueSource[],
  plan: InsertPlan,
  execution: Execution,
): Column | undefined {
  const vectors = parameterVectors(column, sources, plan, execution)
  if (vectors !== undefined) return vectors
  const builder = createColumnBuilder(column.kind, column.width, sources.length)
  for (const source of sources) {
    const value = valueFrom(source, column, execution, plan)
    if (value === needsPostgresToRead) return undefined
    builder.appendDatum(value)
  }
  return builder.finish()
}

/** Vectors that are all parameters, without a copy per value. */
function parameterVectors(
  column: TableColumn,
  sources: readonly ValueSource[],
  plan: InsertPlan,
  { bound }: Execution,
): Column | undefined {
  if (column.kind !== 'vector' || column.width === 0) return undefined
  const { parameters, parameterFormats } = bound
  const indexes: number[] = []
  for (const source of sources) {
    if (source.kind !== 'parameter' || plan.parameterTypes[source.index - 1] !== column.typeOid)
      return undefined
    indexes.push(source.index - 1)
  }
  try {
    return vectorColumn(column.width, sources.length, (row) => {
      const index = indexes[row] ?? 0
      const bytes = parameters[index]
      if (bytes === undefined || bytes === null) return undefined
      const format = parameterFormats.length <= 1 ? parameterFormats[0] : parameterFormats[index]
      return { bytes, from: 0, to: bytes.byteLength, binary: format === 1 }
    })
  } catch (error) {
    // One by one it is said which is wrong, in the order of the statement.
    return undefinedIfRefused(error)
  }
}

/** Codecs and PostgreSQL refuse with an SQLSTATE; anything else is a bug, and seen. */
function undefinedIfRefused(error: unknown): undefined {
  const { code } = error as { readonly code?: unknown }
  if (error instanceof DatabaseError || (typeof code === 'string' && code.length === 5)) return
  throw error
}

function valueFrom(
  source: ValueSource,
  column: TableColumn,
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

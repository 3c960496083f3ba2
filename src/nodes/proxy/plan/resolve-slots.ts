/**
 * Gives slots their values. Constants are known at plan time; a parameter is read by the value codecs when its type has
 * one; the rest is evaluated by PostgreSQL, all in one query.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import { vectorDatum } from '#engine/columnar/read-datum.js'
import { native as engine } from '#engine/index/native.js'
import { parseText } from '#engine/types/parse-text.js'
import type { Expression } from '#nodes/proxy/plan/expression.js'
import { toSql } from '#nodes/proxy/plan/expression.js'
import type { Slot, SlotValues } from '#nodes/proxy/plan/slots.js'
import { evaluateValues } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'

export type ExpressionType = { readonly name: string; readonly array: boolean } | undefined

/** Makes slots of expressions, evaluating now what depends on nothing. */
export async function makeSlots(
  expressions: readonly Expression[],
  typeOf: (expression: Expression) => ExpressionType,
  execution: Execution,
  parameterTypes: readonly number[],
): Promise<readonly Slot[]> {
  const slots: Slot[] = []
  for (const expression of expressions) {
    const type = typeOf(expression)
    const base = { sql: toSql(expression), typeName: type?.name ?? '', array: type?.array ?? false }
    if (expression.kind === 'constant') {
      const known =
        expression.text === null || type === undefined || type.array
          ? undefined
          : native(type.name, expression.text, execution)
      const datum =
        expression.text === null
          ? null
          : (known ?? (await evaluateValues(execution, `SELECT ${base.sql}`, [], false))[0] ?? null)
      slots.push({ ...base, parameterIndex: undefined, constant: { datum } })
      continue
    }
    const index = directParameter(expression, type, execution, parameterTypes)
    slots.push({ ...base, parameterIndex: index, constant: undefined })
  }
  return slots
}

/** `$n`, also under a cast to the type it already has or from a smaller to a larger integer. */
function directParameter(
  expression: Expression,
  type: ExpressionType,
  execution: Execution,
  parameterTypes: readonly number[],
): number | undefined {
  if (type === undefined || type.array) return undefined
  if (expression.kind === 'parameter') return expression.index
  if (expression.kind !== 'cast' || expression.argument.kind !== 'parameter') return undefined
  const oid = parameterTypes[expression.argument.index - 1]
  const given = oid === undefined ? undefined : execution.catalog.typeNames.get(oid)
  const integers = ['int2', 'int4', 'int8']
  if (given === undefined || expression.type.modified) return undefined
  if (given === type.name || (integers.includes(given) && type.name === 'int8'))
    return expression.argument.index
  return undefined
}

function native(typeName: string, text: string, execution: Execution): Datum | undefined {
  return parseText(typeName, -1, text, execution.settings.types())
}

/** @returns the values at once when nothing needs PostgreSQL, which is the usual case */
export function resolveSlots(
  slots: readonly Slot[],
  parameterTypes: readonly number[],
  execution: Execution,
): SlotValues | Promise<SlotValues> {
  const values: Datum[] = []
  let open: number[] | undefined
  for (const [i, slot] of slots.entries()) {
    if (slot.constant !== undefined) {
      values.push(slot.constant.datum)
      continue
    }
    const value =
      slot.parameterIndex === undefined
        ? undefined
        : parameterDatum(slot.parameterIndex, parameterTypes, slot.typeName, execution)
    if (value === undefined) {
      open ??= []
      open.push(i)
    }
    values.push(value ?? null)
  }
  return open === undefined ? values : evaluateOpen(slots, open, values, parameterTypes, execution)
}

async function evaluateOpen(
  slots: readonly Slot[],
  open: readonly number[],
  values: Datum[],
  parameterTypes: readonly number[],
  execution: Execution,
): Promise<SlotValues> {
  const sql = `SELECT ${open.map((i) => slots[i]?.sql ?? 'NULL').join(', ')}`
  const used = new Set([...sql.matchAll(/\$(\d+)/g)].map((match) => Number(match[1])))
  // PostgreSQL must know the type of every parameter, also of those this query does not name.
  const types = parameterTypes.map((oid) => oid)
  const filled = used.size === 0 ? [] : types
  const evaluated = await evaluateValues(execution, sql, filled, used.size > 0)
  for (const [position, slot] of open.entries()) values[slot] = evaluated[position] ?? null
  return values
}

/**
 * A parameter in binary send format of `typeName`; undefined: PostgreSQL must read it.
 * @throws DatabaseError 08P01 when it was not bound; what the type's input raises
 */
export function parameterDatum(
  index: number,
  parameterTypes: readonly number[],
  typeName: string,
  execution: Execution,
): Datum | undefined {
  const { parameters, parameterFormats } = execution.bound
  const value = parameters[index - 1]
  if (value === undefined) {
    throw new DatabaseError(
      SqlState.protocolViolation,
      `bind message supplies ${parameters.length} parameters, but prepared statement requires ${parameterTypes.length}`,
    )
  }
  if (value === null) return null
  const format =
    parameterFormats.length <= 1 ? (parameterFormats[0] ?? 0) : (parameterFormats[index - 1] ?? 0)
  const oid = parameterTypes[index - 1]
  const given = oid === undefined ? undefined : execution.catalog.typeNames.get(oid)
  if (given === undefined) return undefined
  if (format === 1) {
    if (given === typeName) return checkedBinary(given, value)
    return widenInteger(given, typeName, value)
  }
  if (given === 'vector' && typeName === 'vector') return parseVectorDatum(value)
  const text = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('utf8')
  const parsed = parseText(given, -1, text, execution.settings.types())
  if (parsed === undefined || given === typeName) return parsed
  return widenInteger(given, typeName, parsed)
}

/** The native parser reads the text in one pass; what it refuses has pgvector's words. */
function parseVectorDatum(text: Uint8Array): Uint8Array {
  try {
    return vectorDatum(engine.parseVector(text, -1))
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string }
    throw new DatabaseError(code ?? SqlState.invalidTextRepresentation, message)
  }
}

const binarySizes: Readonly<Record<string, number>> = {
  bool: 1,
  int2: 2,
  int4: 4,
  int8: 8,
  float4: 4,
  float8: 8,
  date: 4,
  time: 8,
  timestamp: 8,
  timestamptz: 8,
  uuid: 16,
  oid: 4,
}

function checkedBinary(typeName: string, value: Uint8Array): Uint8Array | undefined {
  const size = binarySizes[typeName]
  if (size !== undefined && size !== value.byteLength) {
    throw new DatabaseError(
      SqlState.invalidBinaryRepresentation,
      'incorrect binary data format in bind parameter',
    )
  }
  if (typeName === 'vector') {
    if (value.byteLength < 4)
      throw new DatabaseError(
        SqlState.invalidBinaryRepresentation,
        'incorrect binary data format in bind parameter',
      )
    const dimensions = (value[0] ?? 0) * 256 + (value[1] ?? 0)
    // Anything odd (length, NaN, infinity) is for pgvector's own receive function to refuse.
    if (value.byteLength !== 4 + dimensions * 4 || dimensions === 0 || hasNonFinite(value))
      return undefined
  }
  return value
}

function hasNonFinite(vector: Uint8Array): boolean {
  for (let at = 4; at < vector.byteLength; at += 4) {
    // Exponent bits all set: infinity or NaN.
    if (((vector[at] ?? 0) & 0x7f) === 0x7f && ((vector[at + 1] ?? 0) & 0x80) === 0x80) return true
  }
  return false
}

function widenInteger(given: string, wanted: string, value: Uint8Array): Uint8Array | undefined {
  const small = given === 'int2' || given === 'int4'
  if (given === wanted) return value
  if (!small || wanted !== 'int8') {
    const text = (name: string): boolean => name === 'text' || name === 'varchar'
    return text(given) && text(wanted) ? value : undefined
  }
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  const out = new Uint8Array(8)
  new DataView(out.buffer).setBigInt64(
    0,
    BigInt(given === 'int2' ? view.getInt16(0) : view.getInt32(0)),
  )
  return out
}

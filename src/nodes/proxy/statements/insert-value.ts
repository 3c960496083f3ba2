/** A parameter as the value of a column: read by the codecs, checked as PostgreSQL's input functions would. */
import { isUtf8 } from 'node:buffer'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import { parameterDatum } from '#nodes/proxy/plan/resolve-slots.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TableColumn } from '#postgres/contract.js'

/** The value must be read by PostgreSQL: a form the codecs do not know. */
export const needsPostgresToRead = Symbol('needsPostgresToRead')

const plainTypes = new Set([
  'bool',
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'text',
  'varchar',
  'uuid',
  'bytea',
  'date',
  'timestamp',
  'timestamptz',
  'vector',
])

/** Types whose every binary form is checked here, and whose length modifier (if any) is. */
export function isPlainType(column: TableColumn): boolean {
  if (!plainTypes.has(column.typeName)) return false
  return column.typmod < 0 || column.typeName === 'vector' || column.typeName === 'varchar'
}

/** VARHDRSZ: a varchar's typmod is its length plus this. */
const headerSize = 4

/** @throws 22P02, 22003, 22021, 22001, 22000 as PostgreSQL and pgvector raise them */
export function insertValue(
  column: TableColumn,
  index: number,
  parameterTypes: readonly number[],
  execution: Execution,
): Datum | typeof needsPostgresToRead {
  const datum = parameterDatum(index, parameterTypes, column.typeName, execution)
  if (datum === undefined) return needsPostgresToRead
  if (datum === null) return null
  if (column.typeName === 'text' || column.typeName === 'varchar') checkText(datum, column)
  if (column.typeName === 'vector' && column.typmod > 0) {
    const dimensions = (datum[0] ?? 0) * 256 + (datum[1] ?? 0)
    if (dimensions !== column.typmod) {
      throw new DatabaseError(
        SqlState.dataException,
        `expected ${column.typmod} dimensions, not ${dimensions}`,
      )
    }
  }
  // Bound parameters are views into the connection's buffer.
  return datum.slice()
}

function checkText(datum: Uint8Array, column: TableColumn): void {
  if (!isUtf8(datum) || datum.includes(0)) {
    const bad = datum.includes(0)
      ? '0x00'
      : `0x${Buffer.from(datum.subarray(0, 1)).toString('hex')}`
    throw new DatabaseError('22021', `invalid byte sequence for encoding "UTF8": ${bad}`)
  }
  if (column.typeName !== 'varchar' || column.typmod < 0) return
  const limit = column.typmod - headerSize
  if (datum.byteLength <= limit) return
  const characters = [...Buffer.from(datum).toString('utf8')]
  if (characters.length <= limit) return
  throw new DatabaseError('22001', `value too long for type character varying(${limit})`)
}

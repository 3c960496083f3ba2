/**
 * How a type's values rest in a column. Types are known by name (pg_type.typname): those of extensions (vector) have
 * another OID in every database.
 */
import type { ColumnKind } from '#engine/columnar/column.js'

export interface ColumnForm {
  readonly kind: ColumnKind
  /** vector: dimensions; fixed: bytes; otherwise 0. */
  readonly width: number
}

const forms = new Map<string, ColumnForm>([
  ['bool', { kind: 'bool', width: 0 }],
  ['int2', { kind: 'int16', width: 0 }],
  ['int4', { kind: 'int32', width: 0 }],
  ['int8', { kind: 'int64', width: 0 }],
  // Unsigned 32 bits do not fit an int32.
  ['oid', { kind: 'int64', width: 0 }],
  ['float4', { kind: 'float32', width: 0 }],
  ['float8', { kind: 'float64', width: 0 }],
  ['date', { kind: 'int32', width: 0 }],
  ['timestamp', { kind: 'int64', width: 0 }],
  ['timestamptz', { kind: 'int64', width: 0 }],
  ['time', { kind: 'int64', width: 0 }],
  ['uuid', { kind: 'fixed', width: 16 }],
])
const bytesForm: ColumnForm = { kind: 'bytes', width: 0 }

/**
 * How values of a type rest in a column (engine/columnar/column.ts). A vector without dimensions has rows of different
 * length and rests as bytes. For a domain, ask with its base type.
 */
export function columnKindOf(type: {
  readonly typeName: string
  readonly typmod: number
}): ColumnForm {
  if (type.typeName === 'vector' && type.typmod > 0) return { kind: 'vector', width: type.typmod }
  return forms.get(type.typeName) ?? bytesForm
}

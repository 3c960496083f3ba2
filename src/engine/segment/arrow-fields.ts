/**
 * Between our columns and Arrow's types: one Arrow type per column kind, chosen so that Arrow's buffers are our buffers
 * and nothing is converted on either side (docs/formats/segment.md has the table). What Arrow's type cannot say (SQL name
 * and type) is in the field's metadata.
 */
import { Field } from 'apache-arrow/schema'
import {
  Binary,
  type DataType,
  FixedSizeBinary,
  FixedSizeList,
  Float32,
  Float64,
  Int16,
  Int32,
  Int64,
  Uint8,
  Utf8,
} from 'apache-arrow/type'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { ColumnKind } from '#engine/columnar/column.js'
import type { ColumnSchema } from '#engine/columnar/schema.js'

/** Types whose binary send format is their text in UTF-8: stored as Arrow's Utf8, which has the layout of Binary. */
const textTypes: ReadonlySet<string> = new Set([
  'text',
  'varchar',
  'bpchar',
  'name',
  'json',
  'xml',
  'citext',
  'unknown',
])

export const rowIdField = new Field('_rowid', new Float64(), false)
export const insertedField = new Field('_inserted', new Float64(), false)
export const deletedField = new Field('_deleted', new Float64(), false)

export function fieldOf(column: ColumnSchema): Field {
  return new Field(
    `a${column.attnum}`,
    typeOf(column),
    true,
    new Map([
      ['elanus:kind', column.kind],
      ['elanus:name', column.name],
      ['elanus:type', column.typeName],
      ['elanus:typeOid', String(column.typeOid)],
      ['elanus:typmod', String(column.typmod)],
    ]),
  )
}

function typeOf({ kind, width, typeName }: ColumnSchema): DataType {
  switch (kind) {
    case 'bool':
      return new Uint8()
    case 'int16':
      return new Int16()
    case 'int32':
      return new Int32()
    case 'int64':
      return new Int64()
    case 'float32':
      return new Float32()
    case 'float64':
      return new Float64()
    case 'fixed':
      return new FixedSizeBinary(width)
    case 'vector':
      return new FixedSizeList(width, new Field('item', new Float32(), false))
    case 'bytes':
      return textTypes.has(typeName) ? new Utf8() : new Binary()
  }
}

/** What a reader knows of a stored column. */
export interface StoredField {
  /** -1 for _rowid, _inserted and the like. */
  readonly attnum: number
  readonly name: string
  readonly kind: ColumnKind
  readonly width: number
  readonly sqlName: string
  readonly typeName: string
  readonly typmod: number
}

/** @throws XX001 when the field is none that fieldOf makes */
export function storedField(field: Field): StoredField {
  const kind = field.metadata.get('elanus:kind') ?? 'float64'
  const attnum = /^a(-?\d+)$/.exec(field.name)?.[1]
  const width = widthOf(field.type)
  const expected = {
    attnum: attnum === undefined ? -1 : Number(attnum),
    name: field.name,
    width,
    sqlName: field.metadata.get('elanus:name') ?? field.name,
    typeName: field.metadata.get('elanus:type') ?? 'float8',
    typmod: Number(field.metadata.get('elanus:typmod') ?? -1),
  }
  const known = { ...expected, kind: kind as ColumnKind }
  const type = arrowTypes[known.kind]
  if (type === undefined || !type.includes(String(field.type).split('[')[0] ?? '')) {
    throw new DatabaseError(
      SqlState.dataCorrupted,
      `segment is corrupted: column ${field.name} of kind ${kind} is stored as ${field.type}`,
    )
  }
  return known
}

/** Arrow's names of the types that a kind may be stored as. */
const arrowTypes: Readonly<Record<ColumnKind, readonly string[]>> = {
  bool: ['Uint8'],
  int16: ['Int16'],
  int32: ['Int32'],
  int64: ['Int64'],
  float32: ['Float32'],
  float64: ['Float64'],
  fixed: ['FixedSizeBinary'],
  vector: ['FixedSizeList'],
  bytes: ['Binary', 'Utf8'],
}

function widthOf(type: DataType): number {
  if (type instanceof FixedSizeBinary) return type.byteWidth
  if (type instanceof FixedSizeList) return type.listSize
  return 0
}

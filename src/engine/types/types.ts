/**
 * PostgreSQL's builtin types by OID and name (pg_type.dat), and how a type's values rest in a column. Types of
 * extensions (vector) have an OID of their own in every database and are known by name.
 */
import type { ColumnKind } from '#engine/columnar/column.js'

export interface BuiltinType {
  readonly oid: number
  readonly name: string
  readonly arrayOid: number
  /** pg_type.typlen: bytes, -1 varlena, -2 C string. RowDescription reports it. */
  readonly length: number
}

function builtin(oid: number, name: string, arrayOid: number, length: number): BuiltinType {
  return Object.freeze({ oid, name, arrayOid, length })
}

/** pg_type.dat, the types that columns and results are made of. */
export const builtinTypes: readonly BuiltinType[] = [
  builtin(16, 'bool', 1000, 1),
  builtin(17, 'bytea', 1001, -1),
  builtin(18, 'char', 1002, 1),
  builtin(19, 'name', 1003, 64),
  builtin(20, 'int8', 1016, 8),
  builtin(21, 'int2', 1005, 2),
  builtin(22, 'int2vector', 1006, -1),
  builtin(23, 'int4', 1007, 4),
  builtin(24, 'regproc', 1008, 4),
  builtin(25, 'text', 1009, -1),
  builtin(26, 'oid', 1028, 4),
  builtin(27, 'tid', 1010, 6),
  builtin(28, 'xid', 1011, 4),
  builtin(29, 'cid', 1012, 4),
  builtin(30, 'oidvector', 1013, -1),
  builtin(114, 'json', 199, -1),
  builtin(142, 'xml', 143, -1),
  builtin(194, 'pg_node_tree', 0, -1),
  builtin(600, 'point', 1017, 16),
  builtin(601, 'lseg', 1018, 32),
  builtin(602, 'path', 1019, -1),
  builtin(603, 'box', 1020, 32),
  builtin(604, 'polygon', 1027, -1),
  builtin(628, 'line', 629, 24),
  builtin(650, 'cidr', 651, -1),
  builtin(700, 'float4', 1021, 4),
  builtin(701, 'float8', 1022, 8),
  builtin(705, 'unknown', 0, -2),
  builtin(718, 'circle', 719, 24),
  builtin(774, 'macaddr8', 775, 8),
  builtin(790, 'money', 791, 8),
  builtin(829, 'macaddr', 1040, 6),
  builtin(869, 'inet', 1041, -1),
  builtin(1042, 'bpchar', 1014, -1),
  builtin(1043, 'varchar', 1015, -1),
  builtin(1082, 'date', 1182, 4),
  builtin(1083, 'time', 1183, 8),
  builtin(1114, 'timestamp', 1115, 8),
  builtin(1184, 'timestamptz', 1185, 8),
  builtin(1186, 'interval', 1187, 16),
  builtin(1266, 'timetz', 1270, 12),
  builtin(1560, 'bit', 1561, -1),
  builtin(1562, 'varbit', 1563, -1),
  builtin(1700, 'numeric', 1231, -1),
  builtin(2205, 'regclass', 2210, 4),
  builtin(2206, 'regtype', 2211, 4),
  builtin(2249, 'record', 2287, -1),
  builtin(2275, 'cstring', 1263, -2),
  builtin(2278, 'void', 0, 4),
  builtin(2950, 'uuid', 2951, 16),
  builtin(3220, 'pg_lsn', 3221, 8),
  builtin(3614, 'tsvector', 3643, -1),
  builtin(3615, 'tsquery', 3645, -1),
  builtin(3802, 'jsonb', 3807, -1),
  builtin(3904, 'int4range', 3905, -1),
  builtin(3906, 'numrange', 3907, -1),
  builtin(3908, 'tsrange', 3909, -1),
  builtin(3910, 'tstzrange', 3911, -1),
  builtin(3912, 'daterange', 3913, -1),
  builtin(3926, 'int8range', 3927, -1),
  builtin(4072, 'jsonpath', 4073, -1),
]

const byOid = new Map(builtinTypes.map((type) => [type.oid, type]))
const byName = new Map(builtinTypes.map((type) => [type.name, type]))
const byArrayOid = new Map(builtinTypes.map((type) => [type.arrayOid, type]))

/** Undefined for arrays, and for types that are not builtin. */
export function typeByOid(oid: number): BuiltinType | undefined {
  return byOid.get(oid)
}

export function typeByName(name: string): BuiltinType | undefined {
  return byName.get(name)
}

/** The element type of a builtin array type. */
export function elementTypeByArrayOid(oid: number): BuiltinType | undefined {
  return oid === 0 ? undefined : byArrayOid.get(oid)
}

/** pg_type.typname of a builtin type or an array of one ('_int4'). */
export function typeNameByOid(oid: number): string | undefined {
  const type = byOid.get(oid)
  if (type !== undefined) return type.name
  const element = elementTypeByArrayOid(oid)
  return element === undefined ? undefined : `_${element.name}`
}

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

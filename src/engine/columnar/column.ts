/**
 * Columns: the form in which rows travel and rest. Little-endian, Arrow's layout where Arrow has one:
 *
 *   validity   bit i set = row i is not NULL (LSB first); absent = no NULLs
 *   bool       Uint8Array, 0 or 1 per row
 *   int16/32, float32/64, int64   one element per row; a NULL row holds 0
 *   fixed      width bytes per row (uuid: 16)
 *   vector     dimensions float32 per row, row-major, one block; a NULL row holds zeros
 *   bytes      values + offsets[length + 1]; row i is values[offsets[i] .. offsets[i+1]]
 *
 * What a type's value is in its column: bool, int2, int4, int8 (also oid as int64), float4, float8 as they are;
 * date int32 days since 2000-01-01; timestamp(tz) and time int64 microseconds since 2000-01-01 / midnight
 * (PostgreSQL's own binary representation); uuid fixed 16; vector(n) the floats; every other type `bytes` in
 * PostgreSQL's binary send format, handed back as it is.
 */
export type ColumnKind =
  | 'bool'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'float32'
  | 'float64'
  | 'fixed'
  | 'vector'
  | 'bytes'

interface ColumnBase {
  readonly length: number
  readonly validity?: Uint8Array
}
export interface BoolColumn extends ColumnBase {
  readonly kind: 'bool'
  readonly values: Uint8Array
}
export interface Int16Column extends ColumnBase {
  readonly kind: 'int16'
  readonly values: Int16Array
}
export interface Int32Column extends ColumnBase {
  readonly kind: 'int32'
  readonly values: Int32Array
}
export interface Int64Column extends ColumnBase {
  readonly kind: 'int64'
  readonly values: BigInt64Array
}
export interface Float32Column extends ColumnBase {
  readonly kind: 'float32'
  readonly values: Float32Array
}
export interface Float64Column extends ColumnBase {
  readonly kind: 'float64'
  readonly values: Float64Array
}
export interface FixedColumn extends ColumnBase {
  readonly kind: 'fixed'
  readonly width: number
  readonly values: Uint8Array
}
export interface VectorColumn extends ColumnBase {
  readonly kind: 'vector'
  readonly dimensions: number
  readonly values: Float32Array
}
export interface BytesColumn extends ColumnBase {
  readonly kind: 'bytes'
  readonly values: Uint8Array
  /** length + 1 entries, rising. */
  readonly offsets: Int32Array
}
export type Column =
  | BoolColumn
  | Int16Column
  | Int32Column
  | Int64Column
  | Float32Column
  | Float64Column
  | FixedColumn
  | VectorColumn
  | BytesColumn

/** Rows as columns; `columns` is in the order of the schema (or projection) it was asked for with. */
export interface ColumnBatch {
  readonly rowCount: number
  readonly columns: readonly Column[]
}

/** One value in PostgreSQL's binary send format (big-endian), or NULL. */
export type Datum = Uint8Array | null

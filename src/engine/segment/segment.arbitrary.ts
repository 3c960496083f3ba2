/** Random tables and rows for the property tests of segments and of what runs over them. */
import fc from 'fast-check'
import type { Column, ColumnBatch, ColumnKind } from '#engine/columnar/column.js'
import { createColumnBuilder } from '#engine/columnar/column-builder.js'
import type { ColumnSchema, TableSchema } from '#engine/columnar/schema.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'

const typeNames: Readonly<Record<ColumnKind, string>> = {
  bool: 'bool',
  int16: 'int2',
  int32: 'int4',
  int64: 'int8',
  float32: 'float4',
  float64: 'float8',
  fixed: 'uuid',
  vector: 'vector',
  bytes: 'text',
}

export const allKinds: readonly ColumnKind[] = [
  'bool',
  'int16',
  'int32',
  'int64',
  'float32',
  'float64',
  'fixed',
  'vector',
  'bytes',
]

export function columnSchema(attnum: number, kind: ColumnKind): ColumnSchema {
  return {
    attnum,
    name: `column ${attnum}`,
    typeOid: 16 + attnum,
    typeName: typeNames[kind],
    typmod: -1,
    kind,
    width: kind === 'vector' ? 3 : kind === 'fixed' ? 16 : 0,
    notNull: false,
    missing: null,
  }
}

export function tableSchema(kinds: readonly ColumnKind[]): TableSchema {
  return {
    tableId: 1000,
    incarnation: 1,
    version: 1,
    schemaName: 'public',
    name: 'rows',
    columns: kinds.map((kind, position) => columnSchema(position + 1, kind)),
    keys: [],
    vectorIndexes: [],
    shardCount: 1,
  }
}

const smallFloat = fc.oneof(
  fc.integer({ min: -4, max: 4 }),
  fc.constantFrom(Number.NaN, -0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.5),
)

function bigEndian(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size)
  write(new DataView(bytes.buffer))
  return bytes
}

/** Values in send format, from a small domain so that equal ones are common. */
export function datumArbitrary(kind: ColumnKind): fc.Arbitrary<Uint8Array | null> {
  return fc.option(valueArbitrary(kind), { nil: null, freq: 5 })
}

function valueArbitrary(kind: ColumnKind): fc.Arbitrary<Uint8Array> {
  const small = fc.integer({ min: -5, max: 5 })
  switch (kind) {
    case 'bool':
      return fc.boolean().map((value) => Uint8Array.of(value ? 1 : 0))
    case 'int16':
      return small.map((value) => bigEndian(2, (view) => view.setInt16(0, value)))
    case 'int32':
      return small.map((value) => bigEndian(4, (view) => view.setInt32(0, value)))
    case 'int64':
      return fc
        .oneof(small, fc.maxSafeInteger())
        .map((value) => bigEndian(8, (view) => view.setBigInt64(0, BigInt(value))))
    case 'float32':
      return smallFloat.map((value) => bigEndian(4, (view) => view.setFloat32(0, value)))
    case 'float64':
      return smallFloat.map((value) => bigEndian(8, (view) => view.setFloat64(0, value)))
    case 'fixed':
      return fc.uint8Array({ minLength: 16, maxLength: 16, max: 2 })
    case 'vector':
      return fc
        .array(fc.integer({ min: -3, max: 3 }), { minLength: 3, maxLength: 3 })
        .map((values) =>
          bigEndian(16, (view) => {
            view.setInt16(0, 3)
            values.forEach((value, i) => {
              view.setFloat32(4 + 4 * i, value)
            })
          }),
        )
    case 'bytes':
      return fc.uint8Array({ maxLength: 6, min: 97, max: 99 })
  }
}

/** Rows of the schema; also their row ids, timestamps and deletes. */
export interface RandomRows {
  readonly batch: ColumnBatch
  readonly rowIds: Float64Array
  readonly inserted: Float64Array
  readonly deleted: Float64Array
}

export function rowsArbitrary(
  columns: readonly ColumnSchema[],
  rowCountMax = 40,
  firstRowId = 1,
  rowCountMin = 0,
): fc.Arbitrary<RandomRows> {
  const row = fc.record({
    values: fc.tuple(...columns.map(({ kind }) => datumArbitrary(kind))),
    gap: fc.oneof({ arbitrary: fc.constant(1), weight: 4 }, fc.integer({ min: 1, max: 5 })),
    inserted: fc.integer({ min: 1, max: 10 }),
    deleted: fc.option(fc.integer({ min: 1, max: 10 }), { nil: Number.POSITIVE_INFINITY }),
  })
  return fc.array(row, { minLength: rowCountMin, maxLength: rowCountMax }).map((rows) => {
    const builders = columns.map(({ kind, width }) => createColumnBuilder(kind, width))
    let rowId = firstRowId - 1
    for (const { values } of rows) {
      builders.forEach((builder, i) => {
        builder.appendDatum(values[i] ?? null)
      })
    }
    return {
      batch: {
        rowCount: rows.length,
        columns: builders.map((builder): Column => builder.finish()),
      },
      rowIds: Float64Array.from(rows, ({ gap }) => {
        rowId += gap
        return rowId
      }),
      inserted: Float64Array.from(rows, ({ inserted }) => inserted),
      deleted: Float64Array.from(rows, ({ inserted, deleted }) => Math.max(inserted, deleted)),
    }
  })
}

/** The rows as a growing segment hands them out when it is sealed. */
export function sealedRows(rows: RandomRows, table: TableSchema): SealedRows {
  return {
    tableId: table.tableId,
    shard: 0,
    incarnation: table.incarnation,
    attnums: table.columns.map(({ attnum }) => attnum),
    ...rows,
  }
}

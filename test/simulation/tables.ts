/** The tables of the workload. All have the same columns, so that one reader reads them all. */
import { type Timestamp, timestampToUnixMs } from '#base/timestamp.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import type { ColumnSchema, KeyConstraint, TableSchema } from '#engine/columnar/schema.js'

export interface Row {
  readonly id: number
  /** A balance, a name, a parent: what the table is about. */
  readonly value: number
  /** Which version of the row this is: unique in the run. */
  readonly tag: number
}

export const accountsId = 16384
export const namesId = 16484
export const parentsId = 16584
export const childrenId = 16684
export const notesId = 16784
/** Of the first table of the name drafts; each that follows has an id so much higher, on other log channels. */
export const draftsIdFirst = 20_001
export const draftsTableIdStep = 101

export const attnumOf = { id: 1, value: 2, tag: 3, place: 4, added: 5 } as const
/** What rows from before the added column read as in it. */
export const addedMissing = 77
export const dimensions = 2

const int8 = (attnum: number, name: string, missing: number | null = null): ColumnSchema => ({
  attnum,
  name,
  typeOid: 20,
  typeName: 'int8',
  typmod: -1,
  kind: 'int64',
  width: 0,
  notNull: attnum === attnumOf.id,
  missing: missing === null ? null : int8Datum(missing),
})

const columns: readonly ColumnSchema[] = [
  int8(attnumOf.id, 'id'),
  int8(attnumOf.value, 'value'),
  int8(attnumOf.tag, 'tag'),
  {
    attnum: attnumOf.place,
    name: 'place',
    typeOid: 90000,
    typeName: 'vector',
    typmod: dimensions,
    kind: 'vector',
    width: dimensions,
    notNull: false,
    missing: null,
  },
]

function key(tableId: number, name: string, attnum: number, primary: boolean): KeyConstraint {
  return { name, indexOid: tableId + attnum, attnums: [attnum], primary, nullsNotDistinct: false }
}

export const primaryKeyOf = (tableId: number): number => tableId + attnumOf.id

function table(
  tableId: number,
  name: string,
  shardCount: number,
  more: Partial<TableSchema> = {},
): TableSchema {
  return {
    tableId,
    incarnation: 1,
    version: 1,
    schemaName: 'public',
    name,
    columns,
    keys: [key(tableId, `${name}_pkey`, attnumOf.id, true)],
    vectorIndexes: [],
    shardCount,
    ...more,
  }
}

export const placeIndexOf = (tableId: number): number => tableId + 50

const placeIndex = (tableId: number): TableSchema['vectorIndexes'] => [
  {
    indexOid: placeIndexOf(tableId),
    name: 'place',
    attnum: attnumOf.place,
    metric: 'l2',
    m: 8,
    efConstruction: 16,
  },
]

export function tablesOf(shardCount: number): readonly TableSchema[] {
  return [
    table(accountsId, 'accounts', shardCount, { vectorIndexes: placeIndex(accountsId) }),
    table(namesId, 'names', shardCount, {
      keys: [
        key(namesId, 'names_pkey', attnumOf.id, true),
        key(namesId, 'names_value_key', attnumOf.value, false),
      ],
    }),
    table(parentsId, 'parents', shardCount),
    table(childrenId, 'children', shardCount),
    table(notesId, 'notes', Math.max(1, shardCount - 1), { vectorIndexes: placeIndex(notesId) }),
    draftsTable(draftsIdFirst, shardCount),
  ]
}

export function withAddedColumn(schema: TableSchema): TableSchema {
  return {
    ...schema,
    version: schema.version + 1,
    columns: [...schema.columns, int8(attnumOf.added, 'added', addedMissing)],
  }
}

/** Rows whose value, a time, is so old are expired. */
export const draftsTimeToLiveMs = 120
/** PostgreSQL counts from 2000-01-01. */
const epochMs2000 = 946_684_800_000

export function draftsTable(tableId: number, shardCount: number): TableSchema {
  return table(tableId, 'drafts', shardCount, {
    keys: [
      key(tableId, 'drafts_pkey', attnumOf.id, true),
      key(tableId, 'drafts_value_key', attnumOf.value, false),
    ],
    vectorIndexes: placeIndex(tableId),
    timeToLive: { attnum: attnumOf.value, milliseconds: draftsTimeToLiveMs },
  })
}

/** Microseconds since 2000. */
export function timeAt(timestamp: Timestamp, laterMs: number): number {
  return (timestampToUnixMs(timestamp) - epochMs2000 + laterMs) * 1000
}

/** By the definition of a time to live: nothing depends on when somebody deletes it. */
export function isExpired(tableId: number, value: number, readAt: number): boolean {
  return tableId >= draftsIdFirst && value <= timeAt(readAt as Timestamp, -draftsTimeToLiveMs)
}

/** Where a row lies for searches: follows from what it is, so that the model knows. */
export function placeOf({ id, value }: Pick<Row, 'id' | 'value'>): Float32Array {
  return Float32Array.of((id * 7919) % 101, (value * 104729) % 97)
}

/** Rows in the columns of the schema. */
export function batchOf(schema: TableSchema, rows: readonly Row[]): ColumnBatch {
  const int64 = (numberOf: (row: Row) => number): Column => ({
    kind: 'int64',
    length: rows.length,
    values: BigInt64Array.from(rows, (row) => BigInt(numberOf(row))),
  })
  const places = new Float32Array(rows.length * dimensions)
  rows.forEach((row, i) => {
    places.set(placeOf(row), i * dimensions)
  })
  const all: Column[] = [
    int64(({ id }) => id),
    int64(({ value }) => value),
    int64(({ tag }) => tag),
    { kind: 'vector', length: rows.length, dimensions, values: places },
    int64(({ tag }) => tag),
  ]
  return { rowCount: rows.length, columns: schema.columns.map((_, i) => all[i] ?? int64(() => 0)) }
}

/** Of a batch with the columns id, value, tag first. */
export function rowsOf(batch: ColumnBatch): Row[] {
  // No rows may come without columns.
  if (batch.rowCount === 0) return []
  const [id, value, tag] = batch.columns
  if (id?.kind !== 'int64' || value?.kind !== 'int64' || tag?.kind !== 'int64') {
    throw new Error('other columns than asked for')
  }
  return Array.from({ length: batch.rowCount }, (_, row) => ({
    id: Number(id.values[row]),
    value: Number(value.values[row]),
    tag: Number(tag.values[row]),
  }))
}

/** PostgreSQL's send format: big-endian. */
export function int8Datum(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value))
  return bytes
}

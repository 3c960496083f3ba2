/**
 * What the stored files say. A set of files that is stored once is read for ever: values of a stored set are not changed;
 * what a new version can say besides gets new values here.
 */

import type { Timestamp } from '#base/timestamp.js'
import type { Column, ColumnBatch, ColumnKind } from '#engine/columnar/column.js'
import type { ColumnSchema, TableSchema } from '#engine/columnar/schema.js'
import type { SnapshotFacts } from '#nodes/proxy/backup/facts.js'
import type { TransactionId } from '#nodes/streaming/contract.js'
import type { LogRecordContent } from '#nodes/streaming/log-record.js'
import type { BundleFile } from '#postgres/snapshot-bundle.js'
import type { ChannelState } from '#storage/wal/embedded/channel-state.js'

export const rowCount = 3
/** Of three rows the last is NULL. */
const lastIsNull = Uint8Array.of(0b011)
const utf8 = (text: string) => new Uint8Array(Buffer.from(text))

const columns: readonly (readonly [typeName: string, Column])[] = [
  ['bool', { kind: 'bool', length: 3, values: Uint8Array.of(1, 0, 0), validity: lastIsNull }],
  ['int2', { kind: 'int16', length: 3, values: Int16Array.of(-32768, 32767, 0) }],
  ['int4', { kind: 'int32', length: 3, values: Int32Array.of(-5, 5, 0), validity: lastIsNull }],
  [
    'int8',
    { kind: 'int64', length: 3, values: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, 7n) },
  ],
  ['float4', { kind: 'float32', length: 3, values: Float32Array.of(1.5, Number.NaN, -0) }],
  [
    'float8',
    {
      kind: 'float64',
      length: 3,
      values: Float64Array.of(0.1, Number.NEGATIVE_INFINITY, 0),
      validity: lastIsNull,
    },
  ],
  [
    'uuid',
    { kind: 'fixed', width: 16, length: 3, values: Uint8Array.from({ length: 48 }, (_, i) => i) },
  ],
  [
    'vector',
    {
      kind: 'vector',
      dimensions: 2,
      length: 3,
      values: Float32Array.of(1, 2, 3, 4, 0, 0),
      validity: lastIsNull,
    },
  ],
  [
    'text',
    {
      kind: 'bytes',
      length: 3,
      values: utf8('aßc日本'),
      offsets: Int32Array.of(0, 4, 10, 10),
      validity: lastIsNull,
    },
  ],
]

/** A column of every kind. */
export const batch: ColumnBatch = { rowCount, columns: columns.map(([, column]) => column) }
export const attnums = columns.map((_, i) => i + 1)

const widthOf = (column: Column) =>
  column.kind === 'vector' ? column.dimensions : column.kind === 'fixed' ? column.width : 0

export const schema: TableSchema = {
  tableId: 70_000,
  incarnation: 2,
  version: 3,
  schemaName: 'public',
  name: 'kept',
  columns: columns.map(
    ([typeName, column], i): ColumnSchema => ({
      attnum: i + 1,
      name: `column ${i + 1}`,
      typeOid: 1000 + i,
      typeName,
      typmod: column.kind === 'vector' ? 2 : -1,
      kind: column.kind satisfies ColumnKind,
      width: widthOf(column),
      notNull: column.validity === undefined,
      missing: i === 1 ? Uint8Array.of(0, 9) : null,
    }),
  ),
  keys: [
    {
      name: 'kept_pkey',
      indexOid: 70_001,
      attnums: [4],
      primary: true,
      nullsNotDistinct: false,
    },
  ],
  vectorIndexes: [],
  shardCount: 1,
}

export const segmentId = 9
export const indexOid = 70_002
export const vectorAttnum = 8
export const rowIds = Float64Array.of(11, 12, 15)
export const inserted = Float64Array.of(4096, 4097, 2 ** 52)
/** The second row is deleted. */
export const deleted = Float64Array.of(
  Number.POSITIVE_INFINITY,
  2 ** 52 + 1,
  Number.POSITIVE_INFINITY,
)
export const deletesUntil = 2 ** 52 + 2

export const logRecords = {
  rows: {
    kind: 'rows',
    tableId: 70_000,
    shard: 1,
    incarnation: 2,
    stageId: 2 ** 33 + 1,
    baseRowId: 11,
    rowCount,
    attnums,
  },
  commit: {
    kind: 'commit',
    timestamp: (2 ** 52) as Timestamp,
    decision: undefined,
    stageIds: [2 ** 33 + 1, 2 ** 33 + 2],
    writes: [
      {
        tableId: 70_000,
        shard: 1,
        incarnation: 2,
        truncate: true,
        deletes: Float64Array.of(1, 2, 2 ** 53 - 1),
      },
      { tableId: 70_003, shard: 0, incarnation: 1, truncate: false, deletes: new Float64Array(0) },
    ],
    ddl: utf8('{"version":1,"entries":["{}"]}'),
  },
  abort: { kind: 'abort', stageId: 2 ** 33 + 2 },
} as const satisfies Readonly<Record<string, LogRecordContent>>

/** Transactions over several log channels. */
export const laterLogRecords = {
  'commit-for-all': {
    kind: 'commit',
    timestamp: (2 ** 52 + 7) as Timestamp,
    decision: {
      transactionId: 'log-0/3/ä' as TransactionId,
      participants: ['log-1', 'log-2'],
      preparedAt: (2 ** 52 + 6) as Timestamp,
    },
    stageIds: [2 ** 33 + 1],
    writes: [],
    ddl: new Uint8Array(0),
  },
  prepare: {
    kind: 'prepare',
    transactionId: 'log-0/3/ä' as TransactionId,
    preparedAt: (2 ** 52 + 6) as Timestamp,
    stageIds: [2 ** 33 + 4],
    writes: [
      {
        tableId: 70_000,
        shard: 1,
        incarnation: 2,
        truncate: false,
        deletes: Float64Array.of(5, 6),
      },
    ],
    absentKeys: [{ tableId: 70_000, indexOid: 70_001, key: 'a\u0000\u00ff' }],
    references: [{ tableId: 70_003, indexOid: 70_004, key: '', rowId: 2 ** 53 - 1 }],
  },
  'finish-committed': {
    kind: 'finish',
    transactionId: 'log-0/3/ä' as TransactionId,
    committedAt: (2 ** 52 + 7) as Timestamp,
  },
  'finish-aborted': {
    kind: 'finish',
    transactionId: 'log-0/3/ä' as TransactionId,
    committedAt: undefined,
  },
} as const satisfies Readonly<Record<string, LogRecordContent>>

export const logChannel = 'log/0'
export const channelState: ChannelState = { term: 1, start: 0, cleanEnd: 4 }

/** What a leased key is worth ends with its process: it is not here after opening. */
export const metaEntries: Readonly<Record<string, Uint8Array>> = {
  'coordinator/term': utf8('7'),
  empty: new Uint8Array(0),
  'setting/bytes': Uint8Array.from({ length: 256 }, (_, i) => i),
  'setting/ä': utf8('ö'),
}
export const leasedKey = 'nodes/leased'

export const bundle: readonly BundleFile[] = [
  { path: '/pglite', content: undefined },
  { path: '/pglite/PG_VERSION', content: utf8('18\n') },
  { path: '/pglite/empty', content: new Uint8Array(0) },
  { path: '/pglite/bytes', content: Uint8Array.from({ length: 300 }, (_, i) => i % 251) },
]

/** 700 rows of 19 vectors: enough that a search for two walks the graph. */
export const equalRows = {
  dimensions: 3,
  metric: 'l2',
  rows: Array.from({ length: 700 }, (_, i) => {
    const vector = (i * i + i) % 25 < 13 ? i % 25 : (i * 7) % 25
    return [vector, (vector * 7) % 11, -vector / 4]
  }),
} as const

/** A backup's manifest, and a copy of the meta store after changes. */
export const snapshotFacts: SnapshotFacts = {
  objects: 'directory:///somewhere',
  timestamp: 800_000_000_000_000 as Timestamp,
  ddl: [
    {
      sql: 'CREATE TABLE t (a int PRIMARY KEY)',
      firstOid: 16_400,
      settings: { user: 'postgres', gucs: [['search_path', 'public']] },
    },
  ],
  tables: [
    {
      oid: 16_400,
      schemaName: 'public',
      name: 't',
      incarnation: 0,
      shardCount: 2,
      indexes: [{ oid: 16_410, name: 't_e' }],
    },
  ],
  shards: [{ tableId: 16_400, shard: 1, nextRowId: 7, segments: [] }],
  sequences: [{ schemaName: 'public', name: 's', lastValue: '9007199254740993', isCalled: true }],
  passwords: [{ role: 'app', verifier: 'SCRAM-SHA-256$4096:c2FsdA==$a:b' }],
}

export const copiedMeta: Readonly<Record<string, Uint8Array>> = {
  'counter/segment-ids': new Uint8Array([54, 53]),
  'setting/kept': new Uint8Array([0, 255]),
}

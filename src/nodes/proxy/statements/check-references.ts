/** Foreign keys of new rows: the referenced key must be there, committed or written by the transaction. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Datum } from '#engine/columnar/column.js'
import { canonicalNumeric, withoutTrailingSpaces } from '#engine/columnar/key.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { shardOfRowId } from '#engine/columnar/row-id.js'
import { formatText } from '#engine/types/format-text.js'
import type { TypeSettings } from '#engine/types/type-settings.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import type { CapturedChange } from '#nodes/proxy/statements/captured-change.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { ownBatches } from '#nodes/proxy/statements/own-batches.js'
import { loadRows, readOwn, storedColumns, toKeyType } from '#nodes/proxy/statements/read-rows.js'
import type { KeyReference } from '#nodes/streaming/contract.js'
import type { CatalogSnapshot, ForeignKeyInfo, TableInfo } from '#postgres/contract.js'

/** @throws 23503 with PostgreSQL's words */
export async function checkReferences(
  execution: Execution,
  changes: readonly CapturedChange[],
): Promise<void> {
  for (const change of changes) {
    if (change.inserted.rowCount === 0) continue
    for (const foreignKey of change.table.foreignKeys)
      await checkForeignKey(execution, change, foreignKey, changes)
  }
}

async function checkForeignKey(
  execution: Execution,
  change: CapturedChange,
  foreignKey: ForeignKeyInfo,
  changes: readonly CapturedChange[],
): Promise<void> {
  const referenced = execution.catalog.tables.get(foreignKey.referencedTableOid)
  if (referenced === undefined) return
  checkMatchFull(change, foreignKey)
  const { keys: wanted, unfit } = referringKeys(change.table, referenced, foreignKey, [
    change.inserted,
  ])
  const missing = (key: readonly Datum[], of: TableInfo, attnums: readonly number[]) => {
    const types = columnsOf(of, attnums).map((column) => column?.typeName)
    const settings = execution.settings.types()
    return violation(change.table, referenced, foreignKey, key, types, settings)
  }
  if (unfit !== undefined) throw missing(unfit, change.table, foreignKey.attnums)
  if (wanted.size === 0 || isJudgedAtCommit(referenced, foreignKey)) return
  for (const own of [
    ...readOwn(execution, referenced, foreignKey.referencedAttnums).map((batch) =>
      keysOfColumns(batch.columns, batch.rowCount, referenced, foreignKey.referencedAttnums),
    ),
    ...changes
      .filter((other) => other.table.oid === referenced.oid)
      .map((other) => keysOfRows(referenced, foreignKey.referencedAttnums, [other.inserted])),
  ]) {
    for (const key of own.keys()) wanted.delete(key)
  }
  if (wanted.size === 0) return
  const index = referencedIndex(referenced, foreignKey)
  const found = await loadRows(
    execution,
    referenced,
    foreignKey.referencedAttnums,
    // What is there now counts, whatever the transaction sees.
    await execution.environment.streaming.strongTimestamp(),
    index === undefined
      ? {}
      : {
          keys: {
            indexOid: index.indexOid,
            values: [...wanted.values()].map((key) => inIndexOrder(index, foreignKey, key)),
          },
        },
  )
  let base = 0
  for (const batch of found.batches) {
    const keys = keysOfColumns(
      batch.columns,
      batch.rowCount,
      referenced,
      foreignKey.referencedAttnums,
    )
    let row = 0
    for (const key of keys.keys()) {
      wanted.delete(key)
      const rowId = found.rowIds[base + row]
      if (index !== undefined && rowId !== undefined) {
        execution.transaction.referenceShards.set(`${index.indexOid}:${key}`, shardOfRowId(rowId))
      }
      row += 1
    }
    base += batch.rowCount
  }
  const [absent] = wanted.values()
  if (absent !== undefined) throw missing(absent, referenced, foreignKey.referencedAttnums)
}

/** By referencesOf(). */
function isJudgedAtCommit(referenced: TableInfo, foreignKey: ForeignKeyInfo): boolean {
  return (
    foreignKey.deferred &&
    referenced.kind === 'table' &&
    referencedIndex(referenced, foreignKey) !== undefined
  )
}

/**
 * What the transaction's rows refer to, in the end: they may have come and gone, and so may the rows they refer to. The
 * nodes that hold those assert that they stay.
 */
export function referencesOf(
  transaction: Transaction,
  catalog: CatalogSnapshot,
): readonly KeyReference[] {
  const references: KeyReference[] = []
  for (const [tableOid, overlay] of transaction.overlays) {
    const table = catalog.tables.get(tableOid)
    if (table === undefined || table.foreignKeys.length === 0 || overlay.rowCount === 0) continue
    for (const foreignKey of table.foreignKeys) {
      const referenced = catalog.tables.get(foreignKey.referencedTableOid)
      const index = referenced === undefined ? undefined : referencedIndex(referenced, foreignKey)
      if (referenced?.kind !== 'table' || index === undefined) continue
      const { keys: wanted } = referringKeys(
        table,
        referenced,
        foreignKey,
        ownBatches(table, overlay),
      )
      const own = transaction.overlays.get(referenced.oid)
      if (own !== undefined && own.rowCount > 0) {
        const brought = keysOfRows(
          referenced,
          foreignKey.referencedAttnums,
          ownBatches(referenced, own),
        )
        for (const key of brought.keys()) wanted.delete(key)
      }
      for (const [text, key] of wanted) {
        references.push({
          tableId: referenced.oid,
          indexOid: index.indexOid,
          constraintName: foreignKey.name,
          key: inIndexOrder(index, foreignKey, key),
          shard: transaction.referenceShards.get(`${index.indexOid}:${text}`),
        })
      }
    }
  }
  return references
}

function referencedIndex(
  referenced: TableInfo,
  { referencedAttnums }: ForeignKeyInfo,
): TableInfo['keys'][number] | undefined {
  return referenced.keys.find(
    (key) =>
      key.attnums.length === referencedAttnums.length &&
      key.attnums.every((attnum) => referencedAttnums.includes(attnum)),
  )
}

function inIndexOrder(
  index: TableInfo['keys'][number],
  { referencedAttnums }: ForeignKeyInfo,
  key: readonly Datum[],
): readonly Datum[] {
  return index.attnums.map((attnum) => key[referencedAttnums.indexOf(attnum)] ?? null)
}

interface ReferringKeys {
  /** In the types of the columns that are referred to: an integer may have another width here. */
  readonly keys: Map<string, readonly Datum[]>
  /** One that fits in no row there, in its own types. */
  readonly unfit: readonly Datum[] | undefined
}

function referringKeys(
  table: TableInfo,
  referenced: TableInfo,
  { attnums, referencedAttnums }: ForeignKeyInfo,
  batches: readonly CapturedChange['inserted'][],
): ReferringKeys {
  const own = keysOfRows(table, attnums, batches)
  const columns = columnsOf(referenced, referencedAttnums)
  const types = columns.map((column) => column?.typeName)
  const ownTypes = columnsOf(table, attnums).map((column) => column?.typeName)
  if (types.join() === ownTypes.join()) return { keys: own, unfit: undefined }
  const keys = new Map<string, readonly Datum[]>()
  let unfit: readonly Datum[] | undefined
  for (const key of own.values()) {
    const converted = key.map((datum, i) =>
      datum instanceof Uint8Array ? toKeyType(datum, columns[i]) : datum,
    )
    if (converted.every((datum) => datum !== undefined)) {
      keys.set(textOfKey(converted, types), converted)
    } else unfit = key
  }
  return { keys, unfit }
}

function columnsOf(
  table: TableInfo,
  attnums: readonly number[],
): readonly (TableInfo['columns'][number] | undefined)[] {
  return attnums.map((attnum) => table.columns.find((column) => column.attnum === attnum))
}

/** @throws 23503 */
function checkMatchFull({ table, inserted }: CapturedChange, foreignKey: ForeignKeyInfo): void {
  if (!foreignKey.matchFull || foreignKey.attnums.length === 1) return
  const stored = storedColumns(table)
  const columns = foreignKey.attnums.flatMap((attnum) => {
    const column = inserted.columns[stored.findIndex((candidate) => candidate.attnum === attnum)]
    return column === undefined ? [] : [column]
  })
  for (let row = 0; row < inserted.rowCount; row += 1) {
    const nulls = columns.filter((column) => readDatum(column, row) === null).length
    if (nulls === 0 || nulls === columns.length) continue
    throw new DatabaseError(
      SqlState.foreignKeyViolation,
      `insert or update on table "${table.name}" violates foreign key constraint "${foreignKey.name}"`,
      {
        detail: 'MATCH FULL does not allow mixing of null and nonnull key values.',
        schema: table.schemaName,
        table: table.name,
        constraint: foreignKey.name,
      },
    )
  }
}

function keysOfRows(
  table: TableInfo,
  attnums: readonly number[],
  batches: readonly CapturedChange['inserted'][],
): Map<string, readonly Datum[]> {
  const columns = storedColumns(table)
  const keys = new Map<string, readonly Datum[]>()
  for (const batch of batches) {
    const picked = attnums.flatMap((attnum) => {
      const column = batch.columns[columns.findIndex((candidate) => candidate.attnum === attnum)]
      return column === undefined ? [] : [column]
    })
    for (const [text, key] of keysOfColumns(picked, batch.rowCount, table, attnums))
      keys.set(text, key)
  }
  return keys
}

/** MATCH SIMPLE: a key with a NULL in it refers to nothing. */
function keysOfColumns(
  columns: CapturedChange['inserted']['columns'],
  rowCount: number,
  table: TableInfo,
  attnums: readonly number[],
): Map<string, readonly Datum[]> {
  const keys = new Map<string, readonly Datum[]>()
  const types = attnums.map(
    (attnum) => table.columns.find((column) => column.attnum === attnum)?.typeName ?? '',
  )
  for (let row = 0; row < rowCount; row += 1) {
    const key = columns.map((column, i) => readDatum(column, row, types[i]))
    if (key.some((datum) => datum === null)) continue
    keys.set(textOfKey(key, types), key)
  }
  return keys
}

/** The same for equal keys: numeric 1.0 = 1.00, char(n) ignores trailing spaces. */
function textOfKey(key: readonly Datum[], types: readonly (string | undefined)[]): string {
  return key
    .map((datum, i) => {
      const bytes = Buffer.from(datum ?? [])
      if (types[i] === 'numeric') return Buffer.from(canonicalNumeric(bytes)).toString('hex')
      if (types[i] === 'bpchar') return Buffer.from(withoutTrailingSpaces(bytes)).toString('hex')
      return bytes.toString('hex')
    })
    .join(':')
}

function violation(
  table: TableInfo,
  referenced: TableInfo,
  foreignKey: ForeignKeyInfo,
  key: readonly Datum[],
  types: readonly (string | undefined)[],
  settings: TypeSettings,
): DatabaseError {
  const names = columnsOf(table, foreignKey.attnums).map((column) => column?.name)
  const values = key.map((datum, i) =>
    datum === null ? 'null' : (formatText(types[i] ?? '', datum, settings) ?? '?'),
  )
  return new DatabaseError(
    SqlState.foreignKeyViolation,
    `insert or update on table "${table.name}" violates foreign key constraint "${foreignKey.name}"`,
    {
      detail: `Key (${names.join(', ')})=(${values.join(', ')}) is not present in table "${referenced.name}".`,
      schema: table.schemaName,
      table: table.name,
      constraint: foreignKey.name,
    },
  )
}

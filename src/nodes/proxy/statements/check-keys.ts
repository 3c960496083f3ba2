/** Unique keys of rows that a statement adds, judged against what is committed and what the transaction has written. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { ColumnBatch, Datum } from '#engine/columnar/column.js'
import { readDatum } from '#engine/columnar/read-datum.js'
import { formatText } from '#engine/types/format-text.js'
import { spansShards } from '#nodes/proxy/distribute/layout.js'
import { routeBatches } from '#nodes/proxy/distribute/route.js'
import type { Settings } from '#nodes/proxy/session/settings.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { added } from '#nodes/proxy/statements/own-batches.js'
import { findOwnConflict, findTwin } from '#nodes/proxy/statements/own-keys.js'
import { routedTable, storedColumns } from '#nodes/proxy/statements/read-rows.js'
import type { CatalogSnapshot, TableInfo } from '#postgres/contract.js'

export interface Conflict {
  readonly indexOid: number
  readonly key: readonly Datum[]
  /** Committed row that holds the key; -1: a row of this transaction. */
  readonly rowId: number
  /** The keys of all rows of the batch under the index, to load whatever they may conflict with. */
  allKeys(): Promise<readonly (readonly Datum[])[]>
}

export async function findConflict(
  execution: Execution,
  table: TableInfo,
  inserted: ColumnBatch,
  removed: readonly number[],
  removedOwn: readonly number[] = [],
): Promise<Conflict | undefined> {
  if (table.keys.length === 0) return undefined
  const overlay = execution.transaction.overlays.get(table.oid)
  const own = findOwnConflict(table, overlay, inserted, removedOwn)
  if (own !== undefined) {
    const keys = keysOfBatch(table, inserted, own.key.indexOid, own.row)
    return { indexOid: own.key.indexOid, key: keys[0] ?? [], rowId: -1, allKeys: async () => keys }
  }
  const committed = execution.environment.postgres.catalog().tables.get(table.oid)
  // A table created in this transaction has only rows of the transaction.
  if (committed === undefined || committed.keys.length === 0) return undefined
  const deletes = Float64Array.from(new Set([...(overlay?.deletes() ?? []), ...removed])).sort()
  const routed = routedTable(table)
  const twin = findTwin(
    table,
    table.keys.filter((key) => spansShards(routed, key)),
    inserted,
  )
  if (twin !== undefined) {
    const keys = keysOfBatch(table, inserted, twin.key.indexOid, twin.row)
    return { indexOid: twin.key.indexOid, key: keys[0] ?? [], rowId: -1, allKeys: async () => keys }
  }
  // Nothing of what is committed stays (TRUNCATE, or ALTER TABLE has rewritten the rows).
  if (overlay?.truncated === true) return undefined
  const asCommitted = committed === table ? inserted : inFormOf(committed, table, inserted)
  // Where rows without a primary key go is decided at commit; their keys are looked up in all shards anyway.
  const writes = routeBatches(routedTable(committed), [asCommitted], () => 0)
  const { streaming } = execution.environment
  const conflicts = await Promise.all(
    writes.map(({ shard, batches }) =>
      streaming.findConflict(
        { tableId: table.oid, shard, truncate: false, deletes, inserts: batches },
        execution.context,
      ),
    ),
  )
  const conflict = conflicts.find((found) => found !== undefined)
  if (conflict === undefined) return undefined
  const { indexOid } = conflict
  return { ...conflict, allKeys: async () => keysOfBatch(table, inserted, indexOid) }
}

/**
 * Rows in the form that storage knows, whatever ALTER TABLE of the open transaction has made of it. Keys of the committed form are
 * the same in both: what changes their columns rewrites the table.
 */
function inFormOf(committed: TableInfo, table: TableInfo, batch: ColumnBatch): ColumnBatch {
  const columns = storedColumns(table)
  return {
    rowCount: batch.rowCount,
    columns: storedColumns(committed).map(({ attnum, kind, width }) => {
      const position = columns.findIndex((column) => column.attnum === attnum)
      const given = batch.columns[position]
      const isSame = columns[position]?.kind === kind && columns[position]?.width === width
      return given !== undefined && isSame ? given : added(committed, attnum, batch.rowCount)
    }),
  }
}

function keysOfBatch(
  table: TableInfo,
  batch: ColumnBatch,
  indexOid: number,
  onlyRow?: number,
): readonly (readonly Datum[])[] {
  const columns = storedColumns(table)
  const attnums = table.keys.find((key) => key.indexOid === indexOid)?.attnums ?? []
  const positions = attnums.map((attnum) => columns.findIndex((column) => column.attnum === attnum))
  const keys: (readonly Datum[])[] = []
  for (let row = 0; row < batch.rowCount; row += 1) {
    if (onlyRow !== undefined && row !== onlyRow) continue
    const key = positions.map((position) => {
      const column = batch.columns[position]
      return column === undefined ? null : readDatum(column, row, columns[position]?.typeName)
    })
    if (key.every((datum) => datum !== null)) keys.push(key)
  }
  return keys
}

/** As PostgreSQL words it: duplicate key value violates unique constraint "t_pkey", Key (id)=(1) already exists. */
export function conflictError(
  table: TableInfo,
  conflict: Pick<Conflict, 'indexOid' | 'key'>,
  settings: Settings,
): DatabaseError {
  const key = table.keys.find((candidate) => candidate.indexOid === conflict.indexOid)
  const columns = (key?.attnums ?? []).map((attnum) =>
    table.columns.find((column) => column.attnum === attnum),
  )
  const names = columns.map((column) => column?.name ?? '?').join(', ')
  const values = conflict.key.map((datum, i) =>
    datum === null
      ? 'null'
      : (formatText(columns[i]?.typeName ?? '', datum, settings.types()) ?? '?'),
  )
  return new DatabaseError(
    SqlState.uniqueViolation,
    `duplicate key value violates unique constraint "${key?.name ?? '?'}"`,
    {
      detail: `Key (${names})=(${values.join(', ')}) already exists.`,
      schema: table.schemaName,
      table: table.name,
      constraint: key?.name ?? '',
    },
  )
}

/** The streaming node names the constraint only by what it knows; the catalog has the rest of the error's fields. */
export function conflictErrorOf(error: unknown, catalog: CatalogSnapshot): unknown {
  if (!(error instanceof DatabaseError)) return error
  if (error.sqlState === SqlState.foreignKeyViolation) return referenceErrorOf(error, catalog)
  if (error.sqlState !== SqlState.uniqueViolation) return error
  for (const table of catalog.tables.values()) {
    const key = table.keys.find((candidate) => candidate.name === error.fields.constraint)
    if (key === undefined) continue
    return new DatabaseError(error.sqlState, error.message, {
      ...error.fields,
      schema: table.schemaName,
      table: table.name,
    })
  }
  return error
}

function referenceErrorOf(error: DatabaseError, catalog: CatalogSnapshot): DatabaseError {
  const name = error.fields.constraint
  for (const table of catalog.tables.values()) {
    if (table.foreignKeys.every((foreignKey) => foreignKey.name !== name)) continue
    return new DatabaseError(
      error.sqlState,
      `insert or update on table "${table.name}" violates foreign key constraint "${name}"`,
      { ...error.fields, schema: table.schemaName, table: table.name },
    )
  }
  return error
}

import type { TableSchema } from '#engine/columnar/schema.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'
import { shardsOf, storedColumns } from '#nodes/proxy/statements/read-rows.js'
import { replicasOf } from '#nodes/proxy/statements/replica-count.js'
import { timeToLiveOf } from '#nodes/proxy/statements/time-to-live.js'
import type { TableInfo } from '#postgres/contract.js'

/** Of one catalog version; attempts are numbered by the coordinator and wrap around no sooner than that. */
const attemptsPerVersion = 2 ** 20

/**
 * A version for forms of tables: later catalog versions have higher ones, and so have later attempts at the same (DDL that
 * failed, and what puts the form of before back).
 */
export async function nextFormVersion(
  catalogVersion: number,
  coordinator: Pick<Coordinator, 'leaseCounter'>,
): Promise<number> {
  const attempt = await coordinator.leaseCounter('table-forms', 1, 1)
  return catalogVersion * attemptsPerVersion + (attempt % attemptsPerVersion)
}

/** What storage must know of a table. @param version see nextFormVersion() */
export function toTableSchema(table: TableInfo, version: number): TableSchema {
  return {
    tableId: table.oid,
    // PostgreSQL gives a table a new file when it rewrites its rows; the first file has the table's own OID.
    incarnation:
      table.fileNumber === undefined || table.fileNumber === table.oid ? 0 : table.fileNumber,
    version,
    schemaName: table.schemaName,
    name: table.name,
    columns: storedColumns(table).map(
      ({ attnum, name, typeOid, typeName, typmod, kind, width, notNull, missing }) => ({
        attnum,
        name,
        typeOid,
        typeName,
        typmod,
        kind,
        width,
        notNull,
        missing,
      }),
    ),
    keys: table.keys,
    vectorIndexes: table.vectorIndexes,
    shardCount: shardsOf(table),
    replicaCount: replicasOf(table),
    timeToLive: timeToLiveOf(table),
  }
}

/** Whether storage would notice a difference. */
export function sameSchema(a: TableInfo, b: TableInfo): boolean {
  const plain = (table: TableInfo): string =>
    JSON.stringify({
      ...toTableSchema(table, 0),
      columns: toTableSchema(table, 0).columns.map(withText),
    })
  return plain(a) === plain(b)
}

function withText(column: TableSchema['columns'][number]): object {
  return {
    ...column,
    missing: column.missing === null ? null : Buffer.from(column.missing).toString('hex'),
  }
}

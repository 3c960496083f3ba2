/** Table schemas in the meta store: JSON under `streaming/table/<oid>`, Datums as base64. */
import { invariant } from '#base/errors.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'

export const tableSettingPrefix = 'streaming/table/'
const formatVersion = 1

export async function saveTable(coordinator: Coordinator, schema: TableSchema): Promise<void> {
  await coordinator.putSetting(`${tableSettingPrefix}${schema.tableId}`, encodeTable(schema))
}

export async function forgetTable(coordinator: Coordinator, tableId: number): Promise<void> {
  await coordinator.putSetting(`${tableSettingPrefix}${tableId}`, undefined)
}

export async function loadTables(coordinator: Coordinator): Promise<readonly TableSchema[]> {
  const settings = await coordinator.listSettings(tableSettingPrefix)
  return settings.map(({ value }) => decodeTable(value))
}

export function encodeTable(schema: TableSchema): Uint8Array {
  const columns = schema.columns.map((column) => ({
    ...column,
    missing: column.missing === null ? null : Buffer.from(column.missing).toString('base64'),
  }))
  return new TextEncoder().encode(JSON.stringify({ formatVersion, ...schema, columns }))
}

export function decodeTable(bytes: Uint8Array): TableSchema {
  const stored = JSON.parse(new TextDecoder().decode(bytes)) as StoredTable
  const { formatVersion: version, columns, ...schema } = stored
  invariant('SEG-8', version === formatVersion, () => `table schema of version ${version}`)
  return {
    ...schema,
    columns: columns.map((column) => ({
      ...column,
      missing:
        column.missing === null ? null : new Uint8Array(Buffer.from(column.missing, 'base64')),
    })),
  }
}

type StoredTable = Omit<TableSchema, 'columns'> & {
  readonly formatVersion: number
  readonly columns: readonly (Omit<TableSchema['columns'][number], 'missing'> & {
    readonly missing: string | null
  })[]
}

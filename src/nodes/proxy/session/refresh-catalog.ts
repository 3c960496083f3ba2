/** DDL that other proxies have appended to the DDL log, applied to the catalog here. The caller holds the DDL lock. */
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { decodeDdl } from '#nodes/proxy/session/commit.js'
import { toTableSchema } from '#nodes/proxy/statements/table-schema.js'

export async function refreshCatalog(environment: ProxyEnvironment): Promise<void> {
  const { catalogChanges, coordinator, plans, postgres, streaming } = environment
  const before = postgres.catalog()
  const entries = (await coordinator.ddlLog()).slice(before.version)
  if (entries.length === 0) return
  catalogChanges.begin()
  try {
    const after = await postgres.applyDdl(entries.map(decodeDdl))
    plans.clear()
    for (const table of after.tables.values()) {
      // Its version is the business of who has changed it.
      if (table.kind === 'table') streaming.noteTable(toTableSchema(table, 0))
    }
    for (const oid of before.tables.keys()) {
      if (!after.tables.has(oid)) streaming.forgetTable(oid)
    }
  } finally {
    catalogChanges.end()
  }
}

/**
 * DDL of transactions that have committed, because it is in the log with their rows, whose proxy died before the DDL log had it. Who
 * has the next turn for DDL adds it, before anything else is built on the catalog: otherwise its rows would lie in tables without
 * their columns, or in the table that gets the same OID.
 *
 * A proxy that has lost its turn and is alive may add it itself, at the same time or later: the same id, so it is added once. What it
 * has not committed yet is refused by the nodes: turns are numbered.
 */
import type { Context } from '#base/context.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { ddlAppendId, decodeDdlBatch } from '#nodes/proxy/session/commit.js'
import { refreshCatalog } from '#nodes/proxy/session/refresh-catalog.js'
import { ddlTurnCounter } from '#nodes/streaming/contract.js'

/**
 * The caller has the turn, and the newest catalog; it has the newest again then.
 * @returns the number of the turn. @throws 08006 when a node does not answer
 */
export async function settleLostDdl(
  environment: ProxyEnvironment,
  context: Context,
): Promise<number> {
  const { coordinator, droppedTables, postgres, streaming } = environment
  const turn = await coordinator.leaseCounter(ddlTurnCounter, 1, 1)
  let isAdded = false
  for (const unsettled of await streaming.unsettledDdl(turn, context)) {
    const { version, entries } = decodeDdlBatch(unsettled.ddl)
    if (version > postgres.catalog().version) continue
    if (version === postgres.catalog().version) {
      await coordinator.appendDdl(version, entries, ddlAppendId(unsettled.timestamp))
      await refreshCatalog(environment)
      isAdded = true
    }
    await streaming.settleDdl(unsettled)
  }
  if (isAdded) await droppedTables.recover(postgres.catalog())
  return turn
}

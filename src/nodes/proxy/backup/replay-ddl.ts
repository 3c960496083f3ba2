/**
 * DDL of another database as one transaction of this one: for restore. Statements, users and settings are those of then, names
 * are the same, OIDs are shifted to where this database's counter stands. All of it happens, or nothing.
 */
import type { Context } from '#base/context.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { acquireDdlLock } from '#nodes/proxy/session/ddl-lock.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import type { CatalogSnapshot, DdlEntry, SessionSettings } from '#postgres/contract.js'

/** Changes nothing; tells where the counter of OIDs stands. */
const probeSql = 'COMMENT ON SCHEMA public IS NULL'

/** What it did becomes part of the transaction, which the session commits. @throws as PostgreSQL refuses a statement: 42P07, … */
export async function replayDdl(
  entries: readonly DdlEntry[],
  settings: SessionSettings,
  transaction: Transaction,
  environment: ProxyEnvironment,
  context: Context,
): Promise<void> {
  const { postgres } = environment
  await acquireDdlLock(transaction, environment, context)
  const prepared = entries.flatMap((entry) => fitted(entry, postgres.catalog()))
  const last = prepared.at(-1)
  if (last === undefined) return
  const probe = await postgres.tryDdl(probeSql, settings, [])
  const shift = probe.result.entry.firstOid - Math.min(...prepared.map(({ firstOid }) => firstOid))
  const pending = prepared
    .slice(0, -1)
    .map((entry) => ({ ...entry, firstOid: entry.firstOid + shift }))
  const tried = await postgres.tryDdl(last.sql, settingsOf(last), pending)
  transaction.pendingDdl = [...pending, tried.result.entry]
  transaction.catalog = tried.catalog
}

/** What every database may have already is not made twice. */
function fitted(entry: DdlEntry, { roles }: CatalogSnapshot): readonly DdlEntry[] {
  const [, quoted, plain] =
    /^\s*create\s+(?:role|user|group)\s+(?:"((?:[^"]|"")+)"|([^\s;"]+))/i.exec(entry.sql) ?? []
  const role = quoted?.replaceAll('""', '"') ?? plain?.toLowerCase()
  if (role !== undefined && roles.has(role)) return []
  const sql = entry.sql.replace(
    /^(\s*create\s+(?:extension|schema)\s+)(?!if\s+not\s|authorization\b)/i,
    '$1IF NOT EXISTS ',
  )
  return [{ ...entry, sql }]
}

function settingsOf({ settings }: DdlEntry): SessionSettings {
  const gucs = new Map(settings.gucs)
  const role = gucs.get('role')
  gucs.delete('role')
  return { user: settings.user, role, gucs, key: '' }
}

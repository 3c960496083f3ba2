/**
 * The database at one timestamp, as objects: for backup.
 *
 * 1. Nobody changes the catalog, by the DDL lock. 2. Nothing is dropped that is visible from now on. 3. The timestamp.
 * 4. Every log channel flushes what is visible at it, and names the segments. 5. Catalog, sequences, passwords.
 */
import type { Context } from '#base/context.js'
import type {
  DatabaseFacts,
  SequenceFacts,
  SnapshotFacts,
  TableFacts,
} from '#nodes/proxy/backup/facts.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { decodeDdl } from '#nodes/proxy/session/commit.js'
import { acquireDdlLock } from '#nodes/proxy/session/ddl-lock.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import { toTableSchema } from '#nodes/proxy/statements/table-schema.js'
import type { CatalogSnapshot, SequenceInfo } from '#postgres/contract.js'

/** Longer than flushing takes; a backup that is slower than this and loses rows to it is refused. */
const historyMs = 600_000

/** The transaction's lock is given back at its end. @throws 72000 when rows were removed while it was made */
export async function takeSnapshot(
  transaction: Transaction,
  environment: ProxyEnvironment,
  context: Context,
): Promise<SnapshotFacts> {
  const { coordinator, postgres, streaming } = environment
  await acquireDdlLock(transaction, environment, context)
  await streaming.keepHistory(historyMs)
  const timestamp = await streaming.strongTimestamp()
  const shards = await streaming.snapshot(timestamp, context)
  const catalog = postgres.catalog()
  const passwords = await coordinator.listSettings('password/')
  return {
    ...databaseFacts(environment, catalog),
    timestamp,
    ddl: (await coordinator.ddlLog()).map(decodeDdl),
    // Of a table whose creation failed, or that is being dropped, the catalog knows nothing.
    shards: shards.filter(({ tableId }) => catalog.tables.has(tableId)),
    sequences: await sequenceFacts(environment, catalog),
    passwords: passwords.map(({ key, value }) => ({
      role: key.slice('password/'.length),
      verifier: new TextDecoder().decode(value),
    })),
  }
}

export function databaseFacts(
  { objectsUrl }: ProxyEnvironment,
  { tables }: CatalogSnapshot,
): DatabaseFacts {
  const stored = [...tables.values()].filter(({ kind }) => kind === 'table')
  return {
    objects: objectsUrl,
    tables: stored.map((table): TableFacts => {
      const { incarnation, shardCount, vectorIndexes } = toTableSchema(table, 0)
      return {
        oid: table.oid,
        schemaName: table.schemaName,
        name: table.name,
        incarnation,
        shardCount,
        indexes: vectorIndexes.map(({ indexOid, name }) => ({ oid: indexOid, name })),
      }
    }),
  }
}

/** At or behind every value that was given: another proxy may have given some of what is leased. */
async function sequenceFacts(
  { coordinator, sequences, others }: ProxyEnvironment,
  catalog: CatalogSnapshot,
): Promise<readonly SequenceFacts[]> {
  const facts: SequenceFacts[] = []
  for (const info of catalog.sequences.values()) {
    const { schemaName, name } = info
    const own = await sequences.withStates([info], async ([state]) => ({
      value: { lastValue: state?.lastValue ?? info.start, isCalled: state?.isCalled ?? false },
      states: [],
    }))
    const leased = others === undefined ? undefined : await leasedTo(coordinator, info)
    const isBehind =
      leased !== undefined &&
      (info.increment > 0n ? leased > own.lastValue : leased < own.lastValue)
    const { lastValue, isCalled } = isBehind ? { lastValue: leased, isCalled: true } : own
    facts.push({ schemaName, name, lastValue: lastValue.toString(), isCalled })
  }
  return facts
}

async function leasedTo(
  coordinator: ProxyEnvironment['coordinator'],
  { oid }: SequenceInfo,
): Promise<bigint | undefined> {
  const stored = await coordinator.getSetting(`sequence/${oid}`)
  return stored === undefined ? undefined : BigInt(new TextDecoder().decode(stored))
}

/**
 * ★ Commits a transaction.
 *
 *  1. channels of new and changed tables are made known to the streaming node (nobody reads them yet);
 *  2. rows, staged rows and DDL go to the log in one append: TXN-1, the transaction is seen whole or not at all;
 *  3. the DDL log and the catalog take the DDL over (after a crash, from the log record);
 *  4. channels of dropped tables are forgotten (noted before 2, so that they are whatever happens), other proxies are told, new vector indexes are built.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import { rowIdsOfShard } from '#engine/columnar/row-id.js'
import { routeBatches } from '#nodes/proxy/distribute/route.js'
import { verifyKeys } from '#nodes/proxy/distribute/verify-keys.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import type { SessionLocks } from '#nodes/proxy/session/session-locks.js'
import type { Transaction } from '#nodes/proxy/session/transaction.js'
import { conflictErrorOf } from '#nodes/proxy/statements/check-keys.js'
import { referencesOf } from '#nodes/proxy/statements/check-references.js'
import { ownBatches } from '#nodes/proxy/statements/own-batches.js'
import { allShards, routedTable } from '#nodes/proxy/statements/read-rows.js'
import { nextFormVersion, sameSchema, toTableSchema } from '#nodes/proxy/statements/table-schema.js'
import type { ChannelWrite } from '#nodes/streaming/contract.js'
import type { CatalogSnapshot, DdlEntry, TableInfo } from '#postgres/contract.js'

/** @returns when it happened; zero when it changed no rows. @throws DatabaseError 23505, 23503, 40001, 53100, 58030 …: nothing of the transaction has happened then */
export async function commitTransaction(
  transaction: Transaction,
  environment: ProxyEnvironment,
  context: Context,
  processId: number,
  locks?: SessionLocks,
): Promise<Timestamp> {
  if (!transaction.isDirty) return timestampZero
  const { catalogChanges, postgres } = environment
  const before = postgres.catalog()
  const after = transaction.catalog ?? before
  if (transaction.pendingDdl.length === 0) {
    return await commitChanges(transaction, before, after, environment, context, locks)
  }
  let committedAt: Timestamp
  catalogChanges.begin()
  try {
    committedAt = await commitChanges(transaction, before, after, environment, context, locks)
  } finally {
    catalogChanges.end()
  }
  // The catalog has the index now: building it may take minutes, in which others may change the catalog, too.
  transaction.releaseDdlLock()
  // Nobody's lock is held: those that are told may wait for their own.
  await environment.others?.tellCatalog(postgres.catalog().version, context)
  await buildNewIndexes(before, after, environment, context, processId)
  return committedAt
}

async function commitChanges(
  transaction: Transaction,
  before: CatalogSnapshot,
  after: CatalogSnapshot,
  environment: ProxyEnvironment,
  context: Context,
  locks: SessionLocks | undefined,
): Promise<Timestamp> {
  if (transaction.pendingDdl.length === 0) {
    return await commitForms(transaction, before, after, environment, context, locks)
  }
  const changed = changedTables(before, after)
  const { droppedTables } = environment
  const drops = await droppedTables.note(before.version, droppedBy(before, after))
  try {
    await putTables(changed, after, environment)
    await verifyNewKeys(transaction, changed, before, environment, context)
    // Rows in the log are read again by the forms of their tables: both or neither, also when the meta store is lost.
    if (transaction.overlays.size > 0 || transaction.staged.length > 0) {
      await environment.coordinator.secure()
    }
    const committedAt = await commitForms(transaction, before, after, environment, context, locks)
    await droppedTables.forget(drops)
    return committedAt
  } catch (error) {
    if (hasCertainlyFailed(error)) {
      await droppedTables.withdraw(drops)
      // Otherwise the tables, and the OIDs, may be another proxy's by now: who changes or makes them gives storage their forms.
      if (transaction.ddlTurn?.isHeld() !== false) {
        await takeBack(changed, before, after, environment)
      }
    }
    throw error
  }
}

function droppedBy(before: CatalogSnapshot, after: CatalogSnapshot): readonly number[] {
  return [...before.tables.values()]
    .filter(({ kind, oid }) => kind === 'table' && !after.tables.has(oid))
    .map(({ oid }) => oid)
}

/** Step 2 to 4: storage has the forms of the tables already. */
async function commitForms(
  transaction: Transaction,
  before: CatalogSnapshot,
  after: CatalogSnapshot,
  environment: ProxyEnvironment,
  context: Context,
  locks: SessionLocks | undefined,
): Promise<Timestamp> {
  const { streaming, coordinator, postgres } = environment
  let committedAt = timestampZero
  const hasDdl = transaction.pendingDdl.length > 0
  const writes = channelWrites(transaction, after, environment.runtime.random)
  const entries = transaction.pendingDdl.map(encodeDdl)
  if (writes.length > 0 || transaction.staged.length > 0) {
    const staged = transaction.staged.map(({ rows }) => rows)
    const result = await streaming
      .commit(
        {
          writes,
          staged,
          references: referencesOf(transaction, after),
          readAt: transaction.changedFrom ?? streaming.readableTimestamp(),
          before: locks?.commitBefore(),
          ddl: hasDdl ? encodeDdlBatch(before.version, entries) : undefined,
          ddlTurn: transaction.ddlTurn?.number,
        },
        context,
      )
      .catch((error: unknown) => {
        throw conflictErrorOf(error, after)
      })
    committedAt = result.timestamp
  }
  for (const [role, verifier] of transaction.passwords) {
    await coordinator.putSetting(
      `password/${role}`,
      verifier === undefined ? undefined : encoder.encode(verifier),
    )
  }
  if (!hasDdl) return committedAt
  // The same id as that of whoever finds the DDL in the log of a node that was opened anew meanwhile.
  const appendId = committedAt > timestampZero ? ddlAppendId(committedAt) : undefined
  if (!(await coordinator.appendDdl(before.version, entries, appendId))) {
    throw new DatabaseError(
      SqlState.serializationFailure,
      'the catalog was changed by another proxy',
    )
  }
  await postgres.applyDdl(transaction.pendingDdl)
  environment.plans.clear()
  return committedAt
}

/** Those that storage must be told of. */
function changedTables(before: CatalogSnapshot, after: CatalogSnapshot): readonly TableInfo[] {
  return [...after.tables.values()].filter((table) => {
    if (table.kind !== 'table') return false
    const old = before.tables.get(table.oid)
    return old === undefined || !(old === table || sameSchema(old, table))
  })
}

async function putTables(
  tables: readonly TableInfo[],
  after: CatalogSnapshot,
  { streaming, coordinator }: ProxyEnvironment,
): Promise<void> {
  if (tables.length === 0) return
  const version = await nextFormVersion(after.version, coordinator)
  for (const table of tables) await streaming.putTable(toTableSchema(table, version))
}

/** Rows that came while storage took the forms over, on another node or through another proxy. @throws 23505 */
async function verifyNewKeys(
  transaction: Transaction,
  changed: readonly TableInfo[],
  before: CatalogSnapshot,
  { streaming }: ProxyEnvironment,
  context: Context,
): Promise<void> {
  for (const table of changed) {
    const old = before.tables.get(table.oid)
    const overlay = transaction.overlays.get(table.oid)
    // All rows come with this transaction: its commit asserts their keys.
    if (old === undefined || overlay?.truncated === true) continue
    const known = new Set(old.keys.map(({ indexOid }) => indexOid))
    const schema = toTableSchema(table, 0)
    const added = schema.keys.filter(({ indexOid }) => !known.has(indexOid))
    await verifyKeys(streaming, schema, added, overlay?.deletes() ?? new Float64Array(), context)
  }
}

/** The transaction has failed: storage gets the forms of before again, and forgets tables that were new. */
async function takeBack(
  tables: readonly TableInfo[],
  before: CatalogSnapshot,
  after: CatalogSnapshot,
  environment: ProxyEnvironment,
): Promise<void> {
  const { streaming } = environment
  const old = tables.flatMap(({ oid }) => before.tables.get(oid) ?? [])
  await putTables(old, after, environment)
  for (const { oid } of tables) if (!before.tables.has(oid)) await streaming.dropTable(oid)
}

/** The log may have it, or get it yet. */
export function mayHaveCommitted(error: unknown): boolean {
  // Cancelled while a node had it.
  return !hasCertainlyFailed(error) || (error as DatabaseError).sqlState === SqlState.queryCanceled
}

/** What a node, a store or the network could not tell may have happened: replay and the DDL log know. */
function hasCertainlyFailed(error: unknown): boolean {
  if (error instanceof DatabaseError) return !/^(08|57P|58|XX)/.test(error.sqlState)
  return false
}

function channelWrites(
  transaction: Transaction,
  catalog: CatalogSnapshot,
  random: () => number,
): readonly ChannelWrite[] {
  const writes: ChannelWrite[] = []
  for (const [tableId, overlay] of transaction.overlays) {
    const table = catalog.tables.get(tableId)
    // Dropped in this very transaction: its rows go with it.
    if (overlay.isEmpty || table === undefined) continue
    const deletes = overlay.deletes()
    const routed = routeBatches(routedTable(table), ownBatches(table, overlay), random)
    for (const shard of allShards(table)) {
      const write = {
        tableId,
        shard,
        truncate: overlay.truncated,
        deletes: rowIdsOfShard(deletes, shard),
        inserts: routed.find((part) => part.shard === shard)?.batches ?? [],
      }
      if (write.truncate || write.deletes.length > 0 || write.inserts.length > 0) writes.push(write)
    }
  }
  return writes
}

async function buildNewIndexes(
  before: CatalogSnapshot,
  after: CatalogSnapshot,
  environment: ProxyEnvironment,
  context: Context,
  processId: number,
): Promise<void> {
  for (const table of after.tables.values()) {
    if (table.kind !== 'table') continue
    const old = before.tables.get(table.oid)
    for (const index of table.vectorIndexes) {
      if (old?.vectorIndexes.some((known) => known.indexOid === index.indexOid) === true) continue
      const progress = environment.progress.begin('create index', processId, table, index)
      try {
        await environment.streaming.buildIndex(
          table.oid,
          index.indexOid,
          (done, total) => progress.update(done, total),
          context,
        )
      } finally {
        progress.end()
      }
    }
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function encodeDdl(entry: DdlEntry): Uint8Array {
  return encoder.encode(JSON.stringify(entry))
}

export function decodeDdl(bytes: Uint8Array): DdlEntry {
  return JSON.parse(decoder.decode(bytes)) as DdlEntry
}

/** For the log record: the entries, and the catalog version they follow, so that recovery adds them once. */
function encodeDdlBatch(version: number, entries: readonly Uint8Array[]): Uint8Array {
  return encoder.encode(
    JSON.stringify({ version, entries: entries.map((entry) => decoder.decode(entry)) }),
  )
}

/** Of the DDL of a transaction that has changed rows. */
export function ddlAppendId(committedAt: Timestamp): string {
  return `commit/${committedAt}`
}

export function decodeDdlBatch(bytes: Uint8Array): {
  readonly version: number
  readonly entries: readonly Uint8Array[]
} {
  const { version, entries } = JSON.parse(decoder.decode(bytes)) as {
    version: number
    entries: string[]
  }
  return { version, entries: entries.map((entry) => encoder.encode(entry)) }
}

/**
 * DDL: tried in the catalog on top of what the transaction has changed so far, kept with the transaction, applied for
 * everybody at commit. Statements that must look at the rows (validate, rewrite) run over them first.
 */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { acquireDdlLock } from '#nodes/proxy/session/ddl-lock.js'
import { withLockTimeout } from '#nodes/proxy/session/lock-timeout.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import { decodeTuples } from '#nodes/proxy/statements/evaluate-changes.js'
import { chooseWriteTimestamp, type Execution } from '#nodes/proxy/statements/execution.js'
import { type LoadedRows, shardsOf, storedColumns } from '#nodes/proxy/statements/read-rows.js'
import { sayWhatReplicasMean } from '#nodes/proxy/statements/replicas.js'
import { restartSequences } from '#nodes/proxy/statements/restart-sequences.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import { takePassword } from '#nodes/proxy/statements/role-password.js'
import { takeNotices } from '#nodes/proxy/statements/side-effects.js'
import { tablesLookedAt } from '#nodes/proxy/statements/tables-looked-at.js'
import { checkTimeToLive } from '#nodes/proxy/statements/time-to-live.js'
import { evaluateWithLoads, loadWhole } from '#nodes/proxy/statements/verbatim.js'
import type { ParsedStatement, TreeNode } from '#postgres/classify.js'
import type { CatalogSnapshot, TableInfo } from '#postgres/contract.js'
import { stringList, visit } from '#postgres/tree-walk.js'

export async function ddl(execution: Execution): Promise<Result> {
  const tag = await runDdl(execution, execution.parsed.sql)
  return commandResult(tag)
}

export async function runDdl(execution: Execution, sql: string): Promise<string> {
  const { environment, transaction, settings, parsed } = execution
  refuse(parsed.nodeTag, parsed.tree)
  if (transaction.readOnly) {
    throw new DatabaseError('25006', 'cannot execute this statement in a read-only transaction')
  }
  await withLockTimeout(settings, environment.runtime, execution.context, (limited) =>
    acquireDdlLock(transaction, environment, limited),
  )
  // The lock may have been waited for: what was planned against an older catalog is looked up anew.
  const catalog = transaction.catalog ?? environment.postgres.catalog()
  const current: Execution = { ...execution, catalog }
  refuseUsedType(parsed, catalog)
  const rewritten = await overRowsIfNeeded(current)
  const safe = await takePassword(current, sql)
  const tried = await environment.postgres.tryDdl(safe, settings.session(), transaction.pendingDdl)
  refuseOtherShards(catalog, tried.catalog)
  for (const table of tried.catalog.tables.values()) checkTimeToLive(table)
  takeNotices(execution, tried.result)
  await restartSequences(current, tried.catalog)
  sayWhatReplicasMean(execution, catalog, tried.catalog)
  transaction.pendingDdl = [...transaction.pendingDdl, tried.result.entry]
  transaction.catalog = tried.catalog
  for (const table of tried.catalog.tables.values()) {
    const before = catalog.tables.get(table.oid)
    if (before === undefined || !liesElsewhere(before, table)) continue
    if (rewritten.some((rows) => rows.table.oid === table.oid)) continue
    await moveRows(current, before)
  }
  for (const { table, change } of rewritten) {
    const after = tried.catalog.tables.get(table.oid)
    if (after === undefined) continue
    const overlay = transaction.overlay(table.oid)
    overlay.truncate()
    overlay.insert(
      await decodeTuples(change, after),
      storedColumns(after).map((column) => column.attnum),
    )
  }
  return tried.result.commandTag
}

/** Stored values would have to be looked at, or written anew: ADD CONSTRAINT and SET NOT NULL of domains, attributes of composite types. */
function refuseUsedType({ nodeTag, tree }: ParsedStatement, { tables }: CatalogSnapshot): void {
  const isDomain =
    nodeTag === 'AlterDomainStmt' && ['C', 'O', 'V'].includes(String(tree['subtype']))
  const isComposite = nodeTag === 'AlterTableStmt' && tree['objtype'] === 'OBJECT_TYPE'
  if (!isDomain && !isComposite) return
  const relation = (tree['relation'] ?? {}) as TreeNode
  const name = isDomain ? stringList(tree['typeName']).at(-1) : relation['relname']
  for (const table of tables.values()) {
    if (!table.columns.some(({ typeName }) => typeName === name || typeName === `_${name}`))
      continue
    throw notSupported(
      `altering type "${name}" is not supported while a column of table "${table.name}" has it`,
      'Make another type, and change the columns to it.',
    )
  }
}

/** Rows lie where the number of shards says. @throws 0A000 */
function refuseOtherShards(before: CatalogSnapshot, after: CatalogSnapshot): void {
  for (const table of after.tables.values()) {
    const known = before.tables.get(table.oid)
    if (known === undefined || known === table || shardsOf(known) === shardsOf(table)) continue
    throw notSupported(
      'changing the number of shards of a table is not supported',
      `Make another table WITH (shards = …), copy the rows with INSERT INTO … SELECT, and rename it to "${table.name}".`,
    )
  }
}

/** Another primary key: its hash says another shard. */
function liesElsewhere(before: TableInfo, after: TableInfo): boolean {
  if (after.kind !== 'table' || shardsOf(after) === 1 || before === after) return false
  const key = (table: TableInfo) => table.keys.find(({ primary }) => primary)?.attnums.join()
  return key(after) !== undefined && key(after) !== key(before)
}

/** Every row goes and comes again at the commit, which routes it anew. */
async function moveRows(execution: Execution, table: TableInfo): Promise<void> {
  const rows = await loadWhole(execution, table.oid, await chooseWriteTimestamp(execution))
  if (rows === undefined) return
  const overlay = execution.transaction.overlay(table.oid)
  overlay.truncate()
  for (const batch of rows.batches) overlay.insert(batch, rows.attnums)
}

/** TRIGGER_TYPE_TRUNCATE, pg_trigger.h. */
const truncateEvent = 32

/** Statements PostgreSQL would run but whose effect could not be kept. @throws 0A000 */
function refuse(nodeTag: string, tree: TreeNode): void {
  const names: Readonly<Record<string, string>> = {
    CreatedbStmt: 'CREATE DATABASE is not supported yet',
    DropdbStmt: 'DROP DATABASE is not supported yet',
    CreateTableSpaceStmt: 'tablespaces are not supported',
    CreateSubscriptionStmt: 'subscriptions are not supported',
    CreatePublicationStmt: 'publications are not supported yet',
    CreateFdwStmt: 'foreign data wrappers are not supported',
    CreateForeignServerStmt: 'foreign servers are not supported',
    CreateForeignTableStmt: 'foreign tables are not supported',
  }
  const message = names[nodeTag]
  if (message !== undefined) throw notSupported(message)
  const relation = (tree['relation'] ?? {}) as TreeNode
  if (nodeTag === 'CreateStmt' && relation['relpersistence'] === 't') {
    throw notSupported(
      'temporary tables are not supported yet',
      'Use an ordinary table and drop it.',
    )
  }
  if (
    nodeTag === 'CreateStmt' &&
    tree['inhRelations'] !== undefined &&
    tree['partbound'] === undefined
  ) {
    throw notSupported('table inheritance is not supported', 'Use declarative partitioning.')
  }
  if (nodeTag === 'RuleStmt' && tree['event'] !== 'CMD_SELECT') {
    throw notSupported(
      'rules for INSERT, UPDATE and DELETE are not supported',
      'Use triggers, INSTEAD OF on views.',
    )
  }
  if (nodeTag === 'CreateTrigStmt' && (Number(tree['events'] ?? 0) & truncateEvent) !== 0) {
    throw notSupported('triggers for TRUNCATE are not supported')
  }
  visit(tree, (_, node) => {
    if (node['contype'] === 'CONSTR_EXCLUSION') {
      throw notSupported('exclusion constraints are not supported')
    }
  })
}

/** ALTER TABLE commands that look at no row: they change names, defaults, options, or add an empty column. */
const catalogOnly = new Set([
  'AT_DropColumn',
  'AT_ColumnDefault',
  'AT_DropNotNull',
  'AT_SetStatistics',
  'AT_SetOptions',
  'AT_SetStorage',
  'AT_SetCompression',
  'AT_DropConstraint',
  'AT_ChangeOwner',
  'AT_SetRelOptions',
  'AT_ResetRelOptions',
  'AT_EnableRowSecurity',
  'AT_DisableRowSecurity',
  'AT_ForceRowSecurity',
  'AT_NoForceRowSecurity',
  'AT_EnableTrig',
  'AT_DisableTrig',
  'AT_EnableTrigAll',
  'AT_DisableTrigAll',
  'AT_ReplicaIdentity',
  'AT_AddIdentity',
  'AT_SetIdentity',
  'AT_DropIdentity',
  'AT_DropExpression',
  'AT_ClusterOn',
  'AT_DropCluster',
  'AT_DetachPartition',
  'AT_DetachPartitionFinalize',
])

/** Runs ALTER TABLE (or CREATE UNIQUE INDEX) over the rows that are there, so that PostgreSQL validates and rewrites them. */
async function overRowsIfNeeded(execution: Execution) {
  const { parsed, environment, transaction } = execution
  if (!needsRows(parsed.nodeTag, parsed.tree)) return []
  const readAt = await chooseWriteTimestamp(execution)
  const loaded: LoadedRows[] = []
  for (const table of await tablesLookedAt(execution)) {
    const rows = await loadWhole(execution, table.oid, readAt)
    if (rows !== undefined && rows.rowCount > 0) loaded.push(rows)
  }
  if (loaded.length === 0) return []
  const statement = {
    sql: notConcurrently(parsed),
    ...{ parameterTypes: [], parameters: [], parameterFormats: [], resultFormats: [] },
  }
  const { result } = await evaluateWithLoads(execution, loaded, (loads) =>
    environment.postgres.evaluate(
      {
        ...evaluationOf(execution, statement, loads),
        pendingDdl: transaction.pendingDdl,
        captureTables: loaded.map((rows) => rows.table.oid),
        foreignKeys: 'on',
      },
      execution.context,
    ),
  )
  return result.changes
    .filter((change) => change.removed.length > 0 || change.insertedCount > 0)
    .flatMap((change) => {
      const rows = loaded.find((entry) => entry.table.oid === change.tableOid)
      if (rows === undefined) return []
      if (change.insertedCount !== rows.rowCount) {
        throw new DatabaseError(
          SqlState.internalError,
          `rewriting ${rows.table.name} gave ${change.insertedCount} rows of ${rows.rowCount}`,
        )
      }
      return [{ table: rows.table, change }]
    })
}

/** An index is made at once here, in a transaction. */
function notConcurrently({ sql, tree }: ParsedStatement): string {
  return tree['concurrent'] === true ? sql.replace(/\bconcurrently\b/i, '') : sql
}

function needsRows(nodeTag: string, tree: TreeNode): boolean {
  if (nodeTag === 'IndexStmt') return tree['unique'] === true
  if (nodeTag === 'CreateStmt') return tree['partbound'] !== undefined
  if (nodeTag !== 'AlterTableStmt' || tree['objtype'] !== 'OBJECT_TABLE') return false
  const commands = (tree['cmds'] ?? []) as readonly { readonly AlterTableCmd?: TreeNode }[]
  return commands.some(({ AlterTableCmd: command }) => {
    const subtype = String(command?.['subtype'])
    if (subtype === 'AT_AddColumn') return addsValues(command)
    return !catalogOnly.has(subtype)
  })
}

/** ADD COLUMN with nothing but a type, or with a plain constant default: old rows read the default. */
function addsValues(command: TreeNode | undefined): boolean {
  const definition = ((command?.['def'] ?? {}) as { readonly ColumnDef?: TreeNode }).ColumnDef
  const constraints = (definition?.['constraints'] ?? []) as readonly {
    readonly Constraint?: TreeNode
  }[]
  return constraints.some(({ Constraint: constraint }) => {
    const kind = constraint?.['contype']
    if (kind === 'CONSTR_NULL') return false
    if (kind !== 'CONSTR_DEFAULT') return true
    const expression = (constraint?.['raw_expr'] ?? {}) as TreeNode
    return expression['A_Const'] === undefined
  })
}

/** COPY … TO STDOUT: as a query whose rows PostgreSQL's own COPY formats, table by table natively where that is possible. */

import { notSupported } from '#base/errors.js'
import { native } from '#engine/index/native.js'
import { hasTextFormatter } from '#engine/types/format-text.js'
import { BackendMessages } from '#net/pgwire/backend-parse.js'
import { describeStatement, preparePlan } from '#nodes/proxy/plan/prepare-plan.js'
import { resolveSlots } from '#nodes/proxy/plan/resolve-slots.js'
import { checkPrivilege } from '#nodes/proxy/statements/check-privilege.js'
import { type CopyOptions, copyOptions } from '#nodes/proxy/statements/copy-options.js'
import { frameCopyRows } from '#nodes/proxy/statements/copy-rows.js'
import { evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { chooseReadTimestamp } from '#nodes/proxy/statements/execution.js'
import type { LoadedRows } from '#nodes/proxy/statements/read-rows.js'
import { loadTables, readOwn, readStored } from '#nodes/proxy/statements/read-rows.js'
import type { Result } from '#nodes/proxy/statements/result.js'
import { commandResult } from '#nodes/proxy/statements/result.js'
import { evaluateWithLoads, loadWhole } from '#nodes/proxy/statements/verbatim.js'
import { parseStatements } from '#postgres/classify.js'

export async function copyOut(execution: Execution): Promise<Result> {
  const { tree } = execution.parsed
  if (tree['query'] === undefined) {
    const options = copyOptions(execution)
    await checkPrivilege(execution, options.table, 'SELECT')
    if (isNative(execution, options))
      return commandResult(`COPY ${await copyTable(execution, options)}`)
  }
  return copyThroughPostgres(execution)
}

function isNative(execution: Execution, options: CopyOptions): boolean {
  if (options.table.kind !== 'table' || !options.plain || options.header) return false
  if (options.columns.some((column) => column.generated === 'v')) return false
  return (
    options.format === 'binary' ||
    options.columns.every((column) => hasTextFormatter(column.typeName, execution.settings.types()))
  )
}

const header = Uint8Array.of(
  0x50,
  0x47,
  0x43,
  0x4f,
  0x50,
  0x59,
  0x0a,
  0xff,
  0x0d,
  0x0a,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
  0,
)
const trailer = Uint8Array.of(0xff, 0xff)

async function copyTable(execution: Execution, options: CopyOptions): Promise<number> {
  const { out } = execution
  const attnums = options.columns.map((column) => column.attnum)
  out.copyOut(options.format === 'binary' ? 'binary' : 'text', attnums.length)
  if (options.format === 'binary') out.copyData(header)
  let count = 0
  const send = async (batch: LoadedRows['batches'][number]): Promise<void> => {
    const columns = batch.columns.map((column, i) => ({
      ...column,
      typeName: options.columns[i]?.typeName ?? '',
    }))
    const rows =
      options.format === 'binary'
        ? native.encodeCopyBinary(columns, batch.rowCount)
        : native.encodeCopyText(columns, batch.rowCount, options.text)
    out.raw(frameCopyRows(rows, batch.rowCount, options.format, options.text))
    count += batch.rowCount
    if (out.full) await out.drain()
  }
  for await (const { batch } of readStored(
    execution,
    options.table,
    attnums,
    await chooseReadTimestamp(execution),
    {},
  )) {
    if (batch.rowCount > 0) await send(batch)
  }
  for (const batch of readOwn(execution, options.table, attnums)) await send(batch)
  if (options.format === 'binary') out.copyData(trailer)
  out.copyDone()
  return count
}

/** The COPY itself runs verbatim; its rows are those that its query can reach. */
async function copyThroughPostgres(execution: Execution): Promise<Result> {
  const { out, environment } = execution
  const { rows, mayChange } = await rowsToCopy(execution)
  const captureTables = mayChange ? [...execution.catalog.tables.keys()] : []
  const { result } = await evaluateWithLoads(execution, rows, (loads) =>
    environment.postgres.evaluate(
      { ...evaluationOf(execution, execution.bound, loads), captureTables },
      execution.context,
    ),
  )
  if (result.changes.length > 0) {
    throw notSupported('COPY of a query whose functions change rows is not supported')
  }
  const messages = new BackendMessages(result.dataRows)
  const binary = /\bbinary\b/i.test(JSON.stringify(execution.parsed.tree['options'] ?? []))
  out.copyOut(binary ? 'binary' : 'text', await columnCount(execution))
  while (messages.next()) {
    if (messages.type === 0x64) out.copyData(messages.payload())
    if (out.full) await out.drain()
  }
  out.copyDone()
  return commandResult(result.commandTag)
}

interface RowsToCopy {
  readonly rows: readonly LoadedRows[]
  /** Functions of the query may change any table. */
  readonly mayChange: boolean
}

async function rowsToCopy(execution: Execution): Promise<RowsToCopy> {
  const query = copyQuery(execution)
  if (query === undefined) {
    const { table } = copyOptions(execution)
    const tables = table.kind === 'table' ? [table.oid] : table.partitions
    const loaded: LoadedRows[] = []
    for (const oid of tables) {
      const rows = await loadWhole(execution, oid, await chooseReadTimestamp(execution))
      if (rows !== undefined) loaded.push(rows)
    }
    return { rows: loaded, mayChange: false }
  }
  const [parsed] = parseStatements(query)
  if (parsed === undefined) return { rows: [], mayChange: false }
  const inner: Execution = { ...execution, parsed, bound: { ...execution.bound, sql: query } }
  const prepared = await preparePlan(inner)
  const values = await resolveSlots(prepared.slots, [], inner)
  const { plan } = prepared
  if (plan.kind === 'catalog' || plan.kind === 'hoisted') {
    const rows = plan.kind === 'catalog' ? [] : await wholeTables(execution, query)
    return { rows, mayChange: false }
  }
  const scans =
    plan.kind === 'scan'
      ? [plan.scan]
      : plan.kind === 'verbatim'
        ? [...plan.scans, ...plan.searches.flatMap((part) => part.scans)]
        : plan.scans
  return {
    rows: await loadTables(inner, scans, values, await chooseReadTimestamp(execution)),
    mayChange: plan.kind === 'verbatim' && plan.mayChange === true,
  }
}

async function wholeTables(execution: Execution, query: string): Promise<readonly LoadedRows[]> {
  const loaded: LoadedRows[] = []
  for (const table of execution.catalog.tables.values()) {
    if (!query.includes(table.name)) continue
    const rows = await loadWhole(execution, table.oid, await chooseReadTimestamp(execution))
    if (rows !== undefined) loaded.push(rows)
  }
  return loaded
}

/** Text between the parentheses of COPY ( … ) TO. */
function copyQuery(execution: Execution): string | undefined {
  const { sql, tree } = execution.parsed
  if (tree['query'] === undefined) return undefined
  const open = sql.indexOf('(')
  const close = sql.slice(0, sql.search(/\)\s*TO\s+STDOUT/i) + 1)
  return open < 0 ? undefined : close.slice(open + 1, -1)
}

/** Clients read the count of columns only to know that the formats are all the same. */
async function columnCount(execution: Execution): Promise<number> {
  const sql = copyQuery(execution)
  if (sql === undefined) return copyOptions(execution).columns.length
  const { fields } = await describeStatement({ sql, parameterTypes: [] }, execution)
  return fields.length
}

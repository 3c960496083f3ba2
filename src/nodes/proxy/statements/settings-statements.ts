/** SET, RESET, SHOW, set_config(): judged by PostgreSQL, kept by the session. */
import { backgroundContext } from '#base/context.js'
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { writeDataRow } from '#net/pgwire/backend.js'
import { ByteWriter } from '#net/pgwire/byte-writer.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import {
  type Expression,
  isColumnFree,
  quoteIdentifier,
  toExpression,
  toSql,
  typeReference,
} from '#nodes/proxy/plan/expression.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import { isNativeSetting, judgeNativeSetting } from '#nodes/proxy/session/settings.js'
import type { IsolationLevel, Transaction } from '#nodes/proxy/session/transaction.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import { evaluateValues, evaluationOf } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { readTimeSql } from '#nodes/proxy/statements/read-time.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import type { TreeNode } from '#postgres/classify.js'
import type { SessionSettings } from '#postgres/contract.js'
import { stringList, visit } from '#postgres/tree-walk.js'

const textType = 25
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export async function setStatement(execution: Execution): Promise<Result> {
  const { tree } = execution.parsed
  const kind = String(tree['kind'])
  const name = String(tree['name'] ?? '').toLowerCase()
  const local = tree['is_local'] === true
  switch (kind) {
    case 'VAR_SET_VALUE':
      await setSetting(execution, name, valueText(tree, name), local)
      return commandResult('SET')
    case 'VAR_SET_DEFAULT':
    case 'VAR_RESET':
      await resetSetting(execution, name, local)
      return commandResult(kind === 'VAR_RESET' ? 'RESET' : 'SET')
    case 'VAR_RESET_ALL':
      execution.settings.resetAll(execution.memory.initialSettings)
      return commandResult('RESET')
    case 'VAR_SET_CURRENT':
      return commandResult('SET')
    case 'VAR_SET_MULTI':
      return setTransactionModes(execution, name, tree)
    default:
      throw notSupported(`SET of kind ${kind} is not supported`)
  }
}

export async function setSetting(
  execution: Execution,
  name: string,
  value: string,
  local: boolean,
): Promise<void> {
  const { settings, transaction } = execution
  if (local && transaction.kind === 'implicit') {
    execution.out.notice({
      severity: 'WARNING',
      sqlState: '25P01',
      message: 'SET LOCAL can only be used in transaction blocks',
    })
  }
  if (name === 'transaction_isolation' || name === 'default_transaction_isolation') {
    const level = isolationLevel(value)
    sayWhatSerializableIs(execution, level)
    if (name === 'transaction_isolation') setIsolation(transaction, level)
    else settings.set(name, level, local)
    return
  }
  if (name === 'transaction_read_only') {
    setReadOnly(transaction, ['on', 'true', 'yes', '1'].includes(value.toLowerCase()))
    return
  }
  if (name === 'role' || name === 'session_authorization') {
    await setRole(execution, name, value, local)
    return
  }
  const canonical = isNativeSetting(name)
    ? name === 'elanus.read_time'
      ? await judgeReadTime(execution, value)
      : judgeNativeSetting(name, value)
    : await judge(execution, name, value)
  settings.set(name, canonical, local)
}

async function setRole(
  execution: Execution,
  name: string,
  value: string,
  local: boolean,
): Promise<void> {
  if (value !== 'none' && !execution.catalog.roles.has(value)) {
    throw new DatabaseError(SqlState.invalidParameterValue, `role "${value}" does not exist`)
  }
  if (name === 'session_authorization' && value !== execution.memory.user) {
    throw notSupported(
      'SET SESSION AUTHORIZATION to another user is not supported',
      'Connect as that user.',
    )
  }
  if (name === 'role') execution.settings.set('role', value === 'none' ? undefined : value, local)
}

/** PostgreSQL's verdict and spelling. @throws 42704, 22023, 55P02 as it raises them */
async function judge(execution: Execution, name: string, value: string): Promise<string> {
  return judgeSetting(execution.environment, execution.settings.session(), name, value)
}

/** @throws 22007, 22023 */
async function judgeReadTime(execution: Execution, value: string): Promise<string> {
  if (value.trim() === '') return ''
  const result = await execution.environment.postgres.catalogQuery(
    evaluationOf(
      execution,
      {
        sql: readTimeSql(value),
        parameterTypes: [textType],
        parameters: [encoder.encode(value)],
        parameterFormats: [],
        resultFormats: [],
      },
      [],
    ),
    execution.context,
  )
  const [row] = [...dataRows(result)]
  const canonical = decoder.decode(row?.[0] ?? new Uint8Array())
  if (/^(-[1-9]\d*us|\d{4}-.*\+00)$/.test(canonical)) return canonical
  throw new DatabaseError(
    SqlState.invalidParameterValue,
    `invalid value for parameter "elanus.read_time": "${value}"`,
    { hint: "Give a time stamp, or an interval back from now, such as '-10 s'." },
  )
}

export async function judgeSetting(
  environment: Pick<ProxyEnvironment, 'postgres'>,
  settings: SessionSettings,
  name: string,
  value: string,
): Promise<string> {
  const result = await environment.postgres.catalogQuery(
    {
      statement: {
        sql: 'SELECT pg_catalog.set_config($1, $2, true)',
        parameterTypes: [textType, textType],
        parameters: [encoder.encode(name), encoder.encode(value)],
        parameterFormats: [],
        resultFormats: [],
      },
      settings,
      pendingDdl: [],
      loads: [],
      sequences: [],
      sessionSequences: [],
      captureTables: [],
    },
    backgroundContext,
  )
  const [row] = [...dataRows(result)]
  return decoder.decode(row?.[0] ?? new Uint8Array())
}

async function resetSetting(execution: Execution, name: string, local: boolean): Promise<void> {
  if (isNativeSetting(name) && name !== 'elanus.read_time') {
    judgeNativeSetting(name, execution.settings.get(name) ?? '')
  }
  execution.settings.set(name, execution.memory.initialSettings.get(name), local)
  // The client must hear of the default it is back to.
  const reported = await showValue(execution, name)
  execution.memory.reportIfWatched(name, reported)
}

/** The text that set_config() takes for the list of values as written. */
function valueText(tree: TreeNode, name: string): string {
  const items = ((tree['args'] ?? []) as readonly TreeNode[]).map((item) => {
    const constant = item['A_Const'] as TreeNode | undefined
    if (constant !== undefined) return constantText(constant)
    const cast = item['TypeCast'] as TreeNode | undefined
    const inner = (cast?.['arg'] as TreeNode | undefined)?.['A_Const'] as TreeNode | undefined
    if (cast === undefined || inner === undefined)
      throw notSupported(`this form of SET ${name} is not supported`)
    const type = typeReference(cast['typeName'])
    // SET TIME ZONE INTERVAL '+00:00' HOUR TO MINUTE
    return type?.name === 'interval' ? `INTERVAL '${constantText(inner)}'` : constantText(inner)
  })
  return name === 'search_path'
    ? items
        .map((item) =>
          /^[a-z_][a-z0-9_$]*$/.test(item) ? item : `"${item.replaceAll('"', '""')}"`,
        )
        .join(', ')
    : items.join(', ')
}

function constantText(constant: TreeNode): string {
  const value = (constant['sval'] ??
    constant['fval'] ??
    constant['ival'] ??
    constant['boolval'] ??
    {}) as TreeNode
  const text = value['sval'] ?? value['fval'] ?? value['ival'] ?? value['boolval']
  if (constant['ival'] !== undefined) return String(text ?? 0)
  if (constant['boolval'] !== undefined) return text === true ? 'on' : 'off'
  return String(text ?? '')
}

/**
 * SELECT set_config(name, value, is_local): the change is kept by the session; the statement itself runs as it is and
 * returns the value.
 */
export async function applySetConfig(execution: Execution): Promise<void> {
  const { tree } = execution.parsed
  if (!execution.parsed.sql.toLowerCase().includes('set_config')) return
  const calls: TreeNode[] = []
  visit(tree, (tag, node) => {
    if (tag === 'FuncCall' && stringList(node['funcname']).at(-1) === 'set_config') calls.push(node)
  })
  for (const call of calls) {
    const args = ((call['args'] ?? []) as readonly unknown[]).map(toExpression)
    if (args.length === 3 && !args.every(isColumnFree) && calls.length === 1) {
      await applyPerRow(execution, args)
      continue
    }
    if (args.length !== 3 || !args.every(isColumnFree)) {
      throw notSupported('set_config() with arguments that depend on rows is not supported')
    }
    const description = await describeStatement(execution.bound, execution)
    const [name, value, local] = await evaluateValues(
      execution,
      `SELECT ${args.map((argument, i) => `(${toSql(argument)})::${i === 2 ? 'bool' : 'text'}`).join(', ')}`,
      description.parameterTypes,
      execution.parsed.sql.includes('$'),
    )
    if (!name || !value) continue
    await setSetting(
      execution,
      decoder.decode(name).toLowerCase(),
      decoder.decode(value),
      local?.[0] === 1,
    )
  }
}

/** SELECT set_config(name, 'x', false) FROM pg_settings WHERE …, as pg_dump has it: a call for each row. */
async function applyPerRow(execution: Execution, args: readonly Expression[]): Promise<void> {
  const { parsed, bound } = execution
  const from =
    /^\s*select\s+(?:pg_catalog\.)?set_config\s*\([^()]*\)(?:\s+as\s+\w+)?\s+(?=from\s)/i.exec(
      parsed.sql,
    )
  const known = args.every((argument) => argument.kind === 'column' || isColumnFree(argument))
  if (from === null || !known) {
    throw notSupported('set_config() with arguments that depend on rows is not supported')
  }
  const list = args.map((argument) =>
    argument.kind === 'column'
      ? `${quoteIdentifier(argument.name)}::text`
      : `(${toSql(argument)})::text`,
  )
  const sql = `SELECT ${list.join(', ')} ${parsed.sql.slice(from[0].length)}`
  const result = await execution.environment.postgres.catalogQuery(
    evaluationOf(execution, { ...bound, sql, resultFormats: [] }, []),
    execution.context,
  )
  for (const [name, value, local] of [...dataRows(result)]) {
    if (!name || !value) continue
    await setSetting(
      execution,
      decoder.decode(name).toLowerCase(),
      decoder.decode(value),
      local?.[0] === 0x74,
    )
  }
}

function isolationLevel(text: string): IsolationLevel {
  const level = text.toLowerCase()
  if (
    level === 'read uncommitted' ||
    level === 'read committed' ||
    level === 'repeatable read' ||
    level === 'serializable'
  ) {
    return level
  }
  throw new DatabaseError(
    SqlState.invalidParameterValue,
    `invalid value for parameter "transaction_isolation": "${text}"`,
  )
}

/** Once in a session. */
export function sayWhatSerializableIs({ memory, out }: Execution, level: IsolationLevel): void {
  if (level !== 'serializable' || memory.knowsSerializable) return
  memory.knowsSerializable = true
  out.notice({
    severity: 'NOTICE',
    sqlState: SqlState.successfulCompletion,
    message:
      'SERIALIZABLE gives snapshot isolation here, as REPEATABLE READ does: write skew is not detected',
    hint: 'Lock the rows that a decision rests on with SELECT … FOR UPDATE.',
  })
}

/** variable.c, check_transaction_isolation. @throws 25001 */
function setIsolation(transaction: Transaction, level: IsolationLevel): void {
  if (level !== transaction.isolation && transaction.kind === 'explicit') {
    const words = transaction.hasQueried
      ? 'must be called before any query'
      : transaction.savepoints.length > 0
        ? 'must not be called in a subtransaction'
        : undefined
    if (words !== undefined) {
      throw new DatabaseError(
        SqlState.activeSqlTransaction,
        `SET TRANSACTION ISOLATION LEVEL ${words}`,
      )
    }
  }
  transaction.isolation = level
}

/** variable.c, check_transaction_read_only. @throws 25001 */
function setReadOnly(transaction: Transaction, readOnly: boolean): void {
  const isLate = transaction.kind === 'explicit' && transaction.hasQueried
  if (isLate && transaction.readOnly && !readOnly) {
    throw new DatabaseError(
      SqlState.activeSqlTransaction,
      'transaction read-write mode must be set before any query',
    )
  }
  transaction.readOnly = readOnly
}

/** SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION … */
function setTransactionModes(execution: Execution, name: string, tree: TreeNode): Result {
  if (name === 'transaction snapshot')
    throw notSupported('SET TRANSACTION SNAPSHOT is not supported')
  const session = name === 'session characteristics'
  for (const mode of transactionModes((tree['args'] ?? []) as readonly TreeNode[])) {
    if (mode.name === 'transaction_isolation') {
      const level = isolationLevel(mode.value)
      if (session) execution.settings.set('default_transaction_isolation', level, false)
      else setIsolation(execution.transaction, level)
      sayWhatSerializableIs(execution, level)
    } else if (mode.name === 'transaction_read_only') {
      const readOnly = mode.value === '1' || mode.value === 'on'
      if (session)
        execution.settings.set('default_transaction_read_only', readOnly ? 'on' : 'off', false)
      else setReadOnly(execution.transaction, readOnly)
    }
  }
  return commandResult('SET')
}

export function transactionModes(
  options: readonly TreeNode[],
): readonly { readonly name: string; readonly value: string }[] {
  return options.flatMap((option) => {
    const element = option['DefElem'] as TreeNode | undefined
    const constant = (element?.['arg'] as TreeNode | undefined)?.['A_Const'] as TreeNode | undefined
    if (element === undefined || constant === undefined) return []
    return [{ name: String(element['defname']), value: constantText(constant) }]
  })
}

export async function showStatement(execution: Execution): Promise<Result> {
  const name = String(execution.parsed.tree['name'] ?? '').toLowerCase()
  if (name === 'all') {
    throw notSupported('SHOW ALL is not supported', 'Use SELECT name, setting FROM pg_settings.')
  }
  const value = await showValue(execution, name)
  const writer = new ByteWriter()
  writeDataRow(writer, [value])
  const shown = name === 'timezone' ? 'TimeZone' : name === 'datestyle' ? 'DateStyle' : name
  return {
    fields: [
      {
        name: shown,
        tableOid: 0,
        attnum: 0,
        typeOid: textType,
        typeSize: -1,
        typmod: -1,
        format: execution.bound.resultFormats[0] ?? 0,
      },
    ],
    rows: [{ data: writer.take(), count: 1 }],
    tag: () => 'SHOW',
  }
}

export async function showValue(execution: Execution, name: string): Promise<string> {
  if (name === 'transaction_isolation') return execution.transaction.isolation
  if (name === 'transaction_read_only') return execution.transaction.readOnly ? 'on' : 'off'
  const known = execution.settings.get(name)
  if (known !== undefined) return known
  if (isNativeSetting(name)) return judgeNativeSetting(name, '')
  if (name === 'role') return 'none'
  const result = await execution.environment.postgres.catalogQuery(
    evaluationOf(
      execution,
      {
        sql: 'SELECT pg_catalog.current_setting($1)',
        parameterTypes: [textType],
        parameters: [encoder.encode(name)],
        parameterFormats: [],
        resultFormats: [],
      },
      [],
    ),
    execution.context,
  )
  const [row] = [...dataRows(result)]
  return decoder.decode(row?.[0] ?? new Uint8Array())
}

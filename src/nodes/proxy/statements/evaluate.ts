/** Running SQL in the embedded PostgreSQL on behalf of a statement. */
import type { Datum } from '#engine/columnar/column.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { BoundStatement, Evaluation, SessionSettings, TableLoad } from '#postgres/contract.js'

export function evaluationOf(
  execution: Execution,
  statement: BoundStatement,
  loads: readonly TableLoad[],
): Evaluation {
  const { transaction } = execution
  return {
    statement,
    settings: withProcesses(execution),
    pendingDdl: transaction.pendingDdl,
    loads,
    sequences: [],
    // A sequence that was dropped, or whose creation was rolled back, may have left its OID to something else; one that was altered may
    // have other bounds.
    sessionSequences: execution.memory.sessionSequences.filter(({ oid, lastValue }) => {
      const info = execution.catalog.sequences.get(oid)
      return info !== undefined && lastValue >= info.min && lastValue <= info.max
    }),
    transactionStartMs: transaction.kind === 'explicit' ? transaction.startMs : undefined,
    captureTables: [],
  }
}

const signals = /\bpg_(cancel|terminate)_backend\b/i

/** Before a statement that signals a process: those of the other proxies. */
export async function learnProcesses({ parsed, environment, memory }: Execution): Promise<void> {
  if (environment.others === undefined || !signals.test(parsed.sql)) return
  memory.otherProcesses = (await environment.others.sessions()).map(({ processId }) => processId)
}

/**
 * For elanus.signal_session(): which processes there are. As a setting, not as rows, so that the statement runs in the
 * catalog: every evaluator may be busy with what is to be cancelled.
 */
function withProcesses(execution: Execution): SessionSettings {
  const session = execution.parsed.sql.includes('pg_backend_pid')
    ? execution.settings.sessionWithProcess()
    : execution.settings.session()
  if (!signals.test(execution.parsed.sql)) return session
  const own = execution.environment.sessions.entries().map((entry) => entry.processId)
  const list = [...own, ...execution.memory.otherProcesses].join(',')
  return {
    ...session,
    gucs: new Map([...session.gucs, ['elanus.processes', list]]),
    key: `${session.key}\u0003${list}`,
  }
}

/** Values of the first row, in binary. `sql` selects expressions over parameters, no table. */
export async function evaluateValues(
  execution: Execution,
  sql: string,
  parameterTypes: readonly number[],
  withParameters: boolean,
): Promise<readonly Datum[]> {
  const statement: BoundStatement = {
    sql,
    parameterTypes: withParameters ? parameterTypes : [],
    parameters: withParameters ? execution.bound.parameters : [],
    parameterFormats: withParameters ? execution.bound.parameterFormats : [],
    resultFormats: [1],
  }
  const result = await execution.environment.postgres.catalogQuery(
    evaluationOf(execution, statement, []),
    execution.context,
  )
  return [...dataRows(result)][0] ?? []
}

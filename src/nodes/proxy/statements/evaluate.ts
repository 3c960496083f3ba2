/** Running SQL in the embedded PostgreSQL on behalf of a statement. */
import type { Datum } from '#engine/columnar/column.js'
import { dataRows } from '#nodes/proxy/statements/data-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { BoundStatement, Evaluation, TableLoad } from '#postgres/contract.js'

export function evaluationOf(
  execution: Execution,
  statement: BoundStatement,
  loads: readonly TableLoad[],
): Evaluation {
  const { transaction } = execution
  return {
    statement,
    settings: execution.settings.session(),
    pendingDdl: transaction.pendingDdl,
    loads,
    sequences: [],
    sessionSequences: execution.memory.sessionSequences,
    transactionStartMs: transaction.kind === 'explicit' ? transaction.startMs : undefined,
    captureTables: [],
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

/** From statement text to a cached plan: Describe, EXPLAIN, compile. From the second time on only the cache is asked. */

import { DatabaseError } from '#base/errors.js'
import { hasInitPlan, replaceSubselects, scalarSubselects } from '#nodes/proxy/plan/hoist.js'
import { planKey } from '#nodes/proxy/plan/plan-cache.js'
import { planQuery, typeOfExpressions } from '#nodes/proxy/plan/plan-query.js'
import { planFunctionCalls, planWholeTables } from '#nodes/proxy/plan/plan-whole-tables.js'
import type { PreparedPlan } from '#nodes/proxy/plan/query-plan.js'
import { makeSlots } from '#nodes/proxy/plan/resolve-slots.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { parseStatements } from '#postgres/classify.js'
import type { Description, Statement } from '#postgres/contract.js'

/** Longer texts have their values in them and do not come again: keeping two thousand of them takes gigabytes. */
const keptTextLengthMax = 65_536

/** Parameter and result types. @throws DatabaseError as PostgreSQL raised it */
export async function describeStatement(
  statement: Statement,
  execution: Pick<Execution, 'environment' | 'settings' | 'transaction' | 'catalog' | 'parsed'>,
): Promise<Description> {
  const { environment, settings, transaction, catalog, parsed } = execution
  const session = settings.session()
  if (transaction.pendingDdl.length > 0) {
    return environment.postgres.describe(statement, session, transaction.pendingDdl)
  }
  if (statement.sql === parsed.sql) {
    const recent = environment.plans.recent(
      parsed,
      catalog.version,
      settings.planKey(),
      statement.parameterTypes,
      true,
    )
    if (recent !== undefined) return recent.description
  }
  const key = planKey(statement.sql, statement.parameterTypes, settings.planKey(), catalog.version)
  const known = environment.plans.description(key)
  if (known !== undefined) return known
  const description = await environment.postgres.describe(statement, session, [])
  if (statement.sql.length <= keptTextLengthMax) environment.plans.putDescription(key, description)
  return description
}

export async function preparePlan(execution: Execution): Promise<PreparedPlan> {
  const { environment, settings, transaction, catalog, bound, parsed } = execution
  const cacheable = transaction.pendingDdl.length === 0
  const native = nativePlans(execution)
  const sessionKey = settings.planKey()
  const recent = cacheable
    ? environment.plans.recent(parsed, catalog.version, sessionKey, bound.parameterTypes, native)
    : undefined
  if (recent !== undefined) return recent
  const settingsKey = `${sessionKey}${native ? '' : '\u0002verbatim'}`
  const key = planKey(bound.sql, bound.parameterTypes, settingsKey, catalog.version)
  const known = cacheable ? environment.plans.plan(key) : undefined
  const plan = known ?? (await makePlan(execution))
  if (cacheable) {
    if (known === undefined) environment.plans.putPlan(key, plan)
    const { parameterTypes } = bound
    environment.plans.putRecent(parsed, {
      version: catalog.version,
      settingsKey: sessionKey,
      parameterTypes,
      native,
      plan,
    })
  }
  return plan
}

function nativePlans({ settings }: Execution): boolean {
  return !settings.isOff('elanus.native_plans')
}

async function makePlan(execution: Execution): Promise<PreparedPlan> {
  const { environment, settings, transaction, catalog, bound, parsed } = execution
  const description = await describeStatement(bound, execution)
  const explained = await environment.postgres.explain(
    bound,
    settings.session(),
    transaction.pendingDdl,
  )
  const input = { parsed, explained, description, catalog }
  const calling = planFunctionCalls(input)
  if (calling !== undefined) return { plan: calling, slots: [], description, explained }
  if (!nativePlans(execution)) {
    return { plan: planWholeTables(input), slots: [], description, explained }
  }
  const { plan, slots } = planQuery(input)
  if (plan.kind !== 'catalog' && hasInitPlan(explained)) {
    const hoisted = await hoist(execution, description)
    if (hoisted !== undefined) return { ...hoisted, description, explained }
  }
  const typeOf = typeOfExpressions(input)
  return {
    plan,
    slots: await makeSlots(slots.expressions, typeOf, execution, description.parameterTypes),
    description,
    explained,
  }
}

/** Only taken when the rest gains by it: evaluated over rows, the statement runs its sub-selects as well as we would. */
async function hoist(
  execution: Execution,
  description: Description,
): Promise<Pick<PreparedPlan, 'plan' | 'slots'> | undefined> {
  const { environment, settings, transaction, catalog, parsed } = execution
  const subselects = scalarSubselects(parsed)
  if (subselects.length === 0) return undefined
  const subqueries: { sql: string; typeOid: number }[] = []
  for (const subselect of subselects) {
    try {
      const inner = await describeStatement(
        { sql: subselect.sql, parameterTypes: description.parameterTypes },
        execution,
      )
      const [field] = inner.fields
      if (field === undefined || inner.fields.length !== 1) return undefined
      subqueries.push({ sql: subselect.sql, typeOid: field.typeOid })
    } catch (error) {
      // Correlated with the rows around it: not a value that can be taken out.
      if (error instanceof DatabaseError) return undefined
      throw error
    }
  }
  const sql = replaceSubselects(parsed.sql, subselects, description.parameterTypes.length + 1)
  const parameterTypes = [
    ...description.parameterTypes,
    ...subqueries.map((subquery) => subquery.typeOid),
  ]
  const statement = { sql, parameterTypes }
  const [rewritten] = parseStatements(sql)
  if (rewritten === undefined) return undefined
  const input = {
    parsed: rewritten,
    description: await describeStatement(statement, execution),
    explained: await environment.postgres.explain(
      statement,
      settings.session(),
      transaction.pendingDdl,
    ),
    catalog,
  }
  const { plan } = planQuery(input)
  if (plan.kind === 'verbatim' && plan.searches.length === 0) return undefined
  return { plan: { kind: 'hoisted', subqueries, sql, parameterTypes }, slots: [] }
}

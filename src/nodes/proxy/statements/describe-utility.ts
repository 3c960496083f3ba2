/** Columns of statements that PostgreSQL does not describe to us. */

import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { Description, FieldDescription } from '#postgres/contract.js'

export async function describeUtility(execution: Execution): Promise<Description> {
  const { parsed, memory } = execution
  const parameterTypes = execution.bound.parameterTypes
  switch (parsed.kind) {
    case 'show': {
      const name = String(parsed.tree['name'] ?? '').toLowerCase()
      const shown = name === 'timezone' ? 'TimeZone' : name === 'datestyle' ? 'DateStyle' : name
      return { parameterTypes, fields: [textField(shown)] }
    }
    case 'explain':
      return { parameterTypes, fields: [textField('QUERY PLAN')] }
    case 'fetch': {
      const portal = memory.portals.get(String(parsed.tree['portalname']))
      const fields = parsed.tree['ismove'] === true ? [] : (portal?.running?.result.fields ?? [])
      return { parameterTypes, fields }
    }
    case 'execute': {
      const statement = memory.statements.get(String(parsed.tree['name']))
      if (statement?.parsed === undefined) return { parameterTypes, fields: [] }
      const inner = await describeStatement(
        { sql: statement.sql, parameterTypes: statement.parameterTypes },
        execution,
      )
      return { parameterTypes, fields: inner.fields }
    }
    default:
      return { parameterTypes, fields: [] }
  }
}

function textField(name: string): FieldDescription {
  return { name, tableOid: 0, attnum: 0, typeOid: 25, typeSize: -1, typmod: -1 }
}

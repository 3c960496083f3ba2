/** PREPARE, EXECUTE, DEALLOCATE as statements. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { typeReference } from '#nodes/proxy/plan/expression.js'
import { describeStatement } from '#nodes/proxy/plan/prepare-plan.js'
import { evaluateValues } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import { parseStatements, type TreeNode } from '#postgres/classify.js'

export async function prepareStatement(execution: Execution): Promise<Result> {
  const { parsed, memory } = execution
  const name = String(parsed.tree['name'])
  if (memory.statements.has(name)) {
    throw new DatabaseError(
      SqlState.duplicatePreparedStatement,
      `prepared statement "${name}" already exists`,
    )
  }
  // PREPARE name [ (types) ] AS statement
  const match = /\bas\s+(?=select|insert|update|delete|merge|values|with|table|\()/i.exec(
    parsed.sql,
  )
  const [inner] = parseStatements(parsed.sql.slice((match?.index ?? 0) + (match?.[0].length ?? 0)))
  if (inner === undefined) throw notSupported('this form of PREPARE is not supported')
  const types = ((parsed.tree['argtypes'] ?? []) as readonly TreeNode[]).map((item) =>
    typeOid(execution, item['TypeName'] ?? item),
  )
  const description = await describeStatement({ sql: inner.sql, parameterTypes: types }, execution)
  memory.statements.set(name, {
    sql: inner.sql,
    parsed: inner,
    parameterTypes: description.parameterTypes,
  })
  return commandResult('PREPARE')
}

function typeOid(execution: Execution, node: unknown): number {
  const type = typeReference(node)
  const name = type === undefined ? '' : type.array ? `_${type.name}` : type.name
  for (const [oid, known] of execution.catalog.typeNames) if (known === name) return oid
  throw new DatabaseError(SqlState.undefinedObject, `type "${name}" does not exist`)
}

/** @param run the dispatcher, which this file must not import: it imports us */
export async function executeStatement(
  execution: Execution,
  run: (execution: Execution) => Promise<Result>,
): Promise<Result> {
  const { parsed, memory } = execution
  const name = String(parsed.tree['name'])
  const statement = memory.statements.get(name)
  if (statement?.parsed === undefined) {
    throw new DatabaseError(
      SqlState.invalidSqlStatementName,
      `prepared statement "${name}" does not exist`,
    )
  }
  const given = argumentTexts(parsed.sql)
  const wanted = statement.parameterTypes
  if (given.length !== wanted.length) {
    throw new DatabaseError(
      SqlState.syntaxError,
      `wrong number of parameters for prepared statement "${name}"`,
      { detail: `Expected ${wanted.length} parameters but got ${given.length}.` },
    )
  }
  const casts = given.map((text, i) => {
    const type = execution.catalog.typeNames.get(wanted[i] ?? 0) ?? 'text'
    return `(${text})::${type.startsWith('_') ? `"${type.slice(1)}"[]` : `"${type}"`}`
  })
  const parameters =
    casts.length === 0
      ? []
      : await evaluateValues(execution, `SELECT ${casts.join(', ')}`, [], false)
  return run({
    ...execution,
    parsed: statement.parsed,
    bound: {
      sql: statement.sql,
      parameterTypes: wanted,
      parameters,
      parameterFormats: [1],
      resultFormats: execution.bound.resultFormats,
    },
  })
}

/** The expressions of EXECUTE name ( … ), split at top-level commas. */
function argumentTexts(sql: string): readonly string[] {
  const open = sql.indexOf('(')
  const close = sql.lastIndexOf(')')
  if (open < 0) return []
  const inside = sql.slice(open + 1, close)
  const texts: string[] = []
  const token = /'(?:[^']|'')*'|"(?:[^"]|"")*"|[()[\],]|[^'"()[\],]+/g
  let depth = 0
  let current = ''
  for (const [text] of inside.matchAll(token)) {
    if (text === '(' || text === '[') depth += 1
    if (text === ')' || text === ']') depth -= 1
    if (text === ',' && depth === 0) {
      texts.push(current.trim())
      current = ''
    } else {
      current += text
    }
  }
  return [...texts, current.trim()]
}

export function deallocateStatement(execution: Execution): Result {
  const { memory, parsed } = execution
  const name = parsed.tree['name']
  if (name === undefined) {
    memory.statements.clear()
    return commandResult('DEALLOCATE ALL')
  }
  if (!memory.statements.delete(String(name))) {
    throw new DatabaseError(
      SqlState.invalidSqlStatementName,
      `prepared statement "${String(name)}" does not exist`,
    )
  }
  return commandResult('DEALLOCATE')
}

/** CREATE TABLE AS: the empty table, then INSERT … SELECT into it, both in the transaction. */
import { notSupported } from '#base/errors.js'
import { quoteIdentifier } from '#nodes/proxy/plan/expression.js'
import { runDdl } from '#nodes/proxy/statements/ddl.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { modify } from '#nodes/proxy/statements/modify.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'
import { parseStatements, type TreeNode } from '#postgres/classify.js'

export async function createTableAs(execution: Execution): Promise<Result> {
  const { parsed, transaction } = execution
  if (parsed.nodeTag !== 'CreateTableAsStmt' || parsed.tree['objtype'] !== 'OBJECT_TABLE') {
    throw notSupported(
      'only CREATE TABLE … AS is supported',
      'SELECT INTO and materialized views are not, yet.',
    )
  }
  const into = (parsed.tree['into'] ?? {}) as TreeNode
  const withoutData = into['skipData'] === true
  const relation = (into['rel'] ?? {}) as TreeNode
  const before = new Set((transaction.catalog ?? execution.catalog).tables.keys())
  const text = parsed.sql.replace(/\s+with\s+data\s*;?\s*$/i, '')
  await runDdl(execution, withoutData ? parsed.sql : `${text} WITH NO DATA`)
  const catalog = transaction.catalog ?? execution.catalog
  const created = [...catalog.tables.values()].find(
    (table) => !before.has(table.oid) && table.name === relation['relname'],
  )
  // IF NOT EXISTS found one; or nothing is wanted.
  if (withoutData || created === undefined) return commandResult('CREATE TABLE AS')
  const query = /\bas\s+(?=select|with|values|table|\()/i.exec(text)
  if (query === null) throw notSupported('this form of CREATE TABLE AS is not supported')
  const sql = `INSERT INTO ${quoteIdentifier(created.schemaName)}.${quoteIdentifier(created.name)} ${text.slice(query.index + query[0].length)}`
  const [inner] = parseStatements(sql)
  if (inner === undefined) throw notSupported('this form of CREATE TABLE AS is not supported')
  const result = await modify({
    ...execution,
    catalog,
    parsed: inner,
    bound: { ...execution.bound, sql: inner.sql },
  })
  return commandResult(`SELECT ${/(\d+)$/.exec(result.tag(0))?.[1] ?? '0'}`)
}

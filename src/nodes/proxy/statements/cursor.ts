/** DECLARE, FETCH, MOVE, CLOSE: cursors are portals that SQL names. */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { closePortal, nextRows, startPortal } from '#nodes/proxy/session/portal-rows.js'
import type { Portal, RunningPortal } from '#nodes/proxy/session/prepared.js'
import { formatsOf } from '#nodes/proxy/statements/encode-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { commandResult, type Result, type RowChunk } from '#nodes/proxy/statements/result.js'
import { select } from '#nodes/proxy/statements/select.js'
import { parseStatements, type TreeNode } from '#postgres/classify.js'

// parsenodes.h
const optionBinary = 0x0001
const optionScroll = 0x0002
const optionHold = 0x0020

export async function declareCursor(execution: Execution): Promise<Result> {
  const { parsed, memory, transaction } = execution
  const name = String(parsed.tree['portalname'])
  const options = Number(parsed.tree['options'] ?? 0)
  const holdable = (options & optionHold) !== 0
  if ((options & optionScroll) !== 0)
    throw notSupported('SCROLL cursors are not supported', 'Use NO SCROLL.')
  if (!holdable && transaction.kind === 'implicit') {
    throw new DatabaseError(
      SqlState.noActiveSqlTransaction,
      'DECLARE CURSOR can only be used in transaction blocks',
    )
  }
  if (memory.portals.has(name)) {
    throw new DatabaseError(SqlState.duplicateCursor, `cursor "${name}" already exists`)
  }
  const match = /\bfor\s+/i.exec(parsed.sql)
  const [inner] = parseStatements(parsed.sql.slice((match?.index ?? 0) + (match?.[0].length ?? 0)))
  if (inner === undefined || inner.kind !== 'select')
    throw notSupported('only SELECT can be declared as a cursor')
  const resultFormats = (options & optionBinary) !== 0 ? [1] : []
  const result = await select({
    ...execution,
    parsed: inner,
    bound: { ...execution.bound, sql: inner.sql, resultFormats },
  })
  memory.portals.set(name, {
    statement: { sql: inner.sql, parsed: inner, parameterTypes: [] },
    parameters: [],
    parameterFormats: [],
    resultFormats,
    running: startPortal(result),
    holdable,
  })
  return commandResult('DECLARE CURSOR')
}

export async function fetchCursor(execution: Execution): Promise<Result> {
  const { parsed, memory } = execution
  const name = String(parsed.tree['portalname'])
  const portal = memory.portals.get(name)
  if (portal?.running === undefined) {
    throw new DatabaseError(SqlState.invalidCursorName, `cursor "${name}" does not exist`)
  }
  portal.running = await inFormats(execution, portal, portal.running)
  const direction = String(parsed.tree['direction'] ?? 'FETCH_FORWARD')
  const howMany = fetchCount(parsed.tree)
  if (direction !== 'FETCH_FORWARD' || howMany < 0) {
    throw new DatabaseError(SqlState.objectNotInPrerequisiteState, 'cursor can only scan forward', {
      hint: 'Declare it with SCROLL option to enable backward scan.',
    })
  }
  const move = parsed.tree['ismove'] === true
  const chunks: RowChunk[] = []
  let count = 0
  while (count < howMany) {
    const chunk = await nextRows(portal.running, Number.isFinite(howMany) ? howMany - count : 0)
    if (chunk === undefined) break
    count += chunk.count
    if (!move) chunks.push(chunk)
  }
  if (move) return commandResult(`MOVE ${count}`)
  return { fields: portal.running.result.fields, rows: chunks, tag: () => `FETCH ${count}` }
}

/**
 * A FETCH by the extended protocol says itself how it wants the values, whatever DECLARE said. Before the first row the
 * query is started again for that.
 */
async function inFormats(
  execution: Execution,
  portal: Portal,
  running: RunningPortal,
): Promise<RunningPortal> {
  const { bound } = execution
  const { fields } = running.result
  if (
    bound.resultFormats.length === 0 ||
    fields === undefined ||
    portal.statement.parsed === undefined
  )
    return running
  const wanted = formatsOf(bound.resultFormats, fields.length)
  if (fields.every((field, i) => field.format === wanted[i])) return running
  if (running.sent > 0) {
    throw notSupported('the formats of a cursor cannot change after its first FETCH')
  }
  await closePortal(running)
  const { parsed, sql } = portal.statement
  const inner = { ...bound, sql, resultFormats: bound.resultFormats }
  return startPortal(await select({ ...execution, parsed, bound: inner }))
}

/** FETCH ALL is LONG_MAX in the tree, printed as a string. */
function fetchCount(tree: TreeNode): number {
  const value = tree['howMany']
  if (value === undefined) return 0
  const count = Number(value)
  return count >= 2_147_483_647 ? Number.POSITIVE_INFINITY : count
}

export async function closeCursor(execution: Execution): Promise<Result> {
  const { memory } = execution
  const name = execution.parsed.tree['portalname']
  if (name === undefined) {
    for (const [key, portal] of memory.portals) {
      await closePortal(portal.running)
      memory.portals.delete(key)
    }
    return commandResult('CLOSE CURSOR ALL')
  }
  const portal = memory.portals.get(String(name))
  if (portal === undefined) {
    throw new DatabaseError(SqlState.invalidCursorName, `cursor "${String(name)}" does not exist`)
  }
  await closePortal(portal.running)
  memory.portals.delete(String(name))
  return commandResult('CLOSE CURSOR')
}

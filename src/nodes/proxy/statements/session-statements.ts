/** LISTEN, NOTIFY, UNLISTEN, DISCARD. */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { ProxyEnvironment } from '#nodes/proxy/environment.js'
import { closePortal } from '#nodes/proxy/session/portal-rows.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { commandResult, type Result } from '#nodes/proxy/statements/result.js'

export function listen(execution: Execution): Result {
  execution.memory.listening.add(String(execution.parsed.tree['conditionname']))
  return commandResult('LISTEN')
}

/** Listeners of all proxies. */
export function notifyAll(
  { sessions, others }: Pick<ProxyEnvironment, 'sessions' | 'others'>,
  processId: number,
  channel: string,
  payload: string,
): void {
  sessions.notify(processId, channel, payload)
  others?.notify(processId, channel, payload)
}

/** Delivered at commit; a rolled back transaction notifies nobody. */
export function notify(execution: Execution): Result {
  const { parsed, transaction, environment, memory } = execution
  const channel = String(parsed.tree['conditionname'])
  const payload = String(parsed.tree['payload'] ?? '')
  transaction.atCommit.push(() => notifyAll(environment, memory.processId, channel, payload))
  return commandResult('NOTIFY')
}

export function unlisten(execution: Execution): Result {
  const channel = execution.parsed.tree['conditionname']
  if (channel === undefined) execution.memory.listening.clear()
  else execution.memory.listening.delete(String(channel))
  return commandResult('UNLISTEN')
}

export async function discard(execution: Execution): Promise<Result> {
  const { memory, settings, transaction } = execution
  const target = String(execution.parsed.tree['target'] ?? 'DISCARD_ALL')
  const all = target === 'DISCARD_ALL'
  if (all && transaction.kind === 'explicit') {
    throw new DatabaseError(
      SqlState.activeSqlTransaction,
      'DISCARD ALL cannot run inside a transaction block',
    )
  }
  if (all || target === 'DISCARD_SEQUENCES') memory.sessionSequences = []
  if (all) {
    memory.statements.clear()
    for (const portal of memory.portals.values()) await closePortal(portal.running)
    memory.portals.clear()
    memory.listening.clear()
    settings.resetAll(memory.initialSettings)
    await memory.locks.releaseSession()
  }
  return commandResult(all ? 'DISCARD ALL' : target.replace('_', ' '))
}

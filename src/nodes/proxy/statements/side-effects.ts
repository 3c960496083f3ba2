/**
 * What functions do outside of the rows (pg_notify, pg_cancel_backend, pg_terminate_backend): the embedded instances
 * cannot do it themselves, so their versions in sql/bootstrap.sql raise notices of class EL, which end here. They carry
 * the arguments in DETAIL and HINT.
 */
import { parseNoticeResponse } from '#net/pgwire/error-response.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import { notifyAll } from '#nodes/proxy/statements/session-statements.js'
import type { EvaluationResult } from '#postgres/contract.js'

const severities = [
  'debug5',
  'debug4',
  'debug3',
  'debug2',
  'debug1',
  'debug',
  'log',
  'notice',
  'warning',
  'error',
]

/** Shows the notices of a run to the client, as far as client_min_messages lets it, and does what they ask for. */
export function takeNotices(execution: Execution, result: Pick<EvaluationResult, 'notices'>): void {
  if (result.notices.length === 0) return
  const least = severities.indexOf(
    (execution.settings.get('client_min_messages') ?? 'notice').toLowerCase(),
  )
  for (const message of result.notices) {
    // 'N', int32 length, fields
    const notice = parseNoticeResponse(message.subarray(5))
    if (notice.sqlState.startsWith('EL'))
      perform(execution, notice.sqlState, notice.detail ?? '', notice.hint ?? '')
    else if (
      notice.severity === 'INFO' ||
      severities.indexOf(notice.severity.toLowerCase()) >= least
    ) {
      execution.out.raw(message)
    }
  }
}

function perform(execution: Execution, what: string, detail: string, hint: string): void {
  const { environment, memory, transaction } = execution
  switch (what) {
    case 'EL001':
      transaction.atCommit.push(() => notifyAll(environment, memory.processId, detail, hint))
      return
    case 'EL002':
      sendSignal(execution, Number(detail), 'cancel')
      return
    case 'EL003':
      sendSignal(execution, Number(detail), 'terminate')
      return
    default:
      return
  }
}

function sendSignal(
  { environment }: Execution,
  processId: number,
  what: 'cancel' | 'terminate',
): void {
  if (!environment.sessions.signal(processId, what)) environment.others?.signal(processId, what)
}

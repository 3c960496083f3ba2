import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { StatementContext } from '#net/pgwire/session.js'
import type { Settings } from '#nodes/proxy/session/settings.js'

const unitsMs: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds of a time setting as SHOW has it ('5s', '250ms', '0'); plain numbers are milliseconds. */
export function timeSettingMs(text: string | undefined): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/.exec(text ?? '')
  return match === null
    ? 0
    : Number(match[1]) * (unitsMs[match[2] === '' ? 'ms' : (match[2] ?? 'ms')] ?? 1)
}

/** Runs `work`; after statement_timeout it is aborted with 57014. Without the setting nothing is added. */
export function withStatementTimeout(
  settings: Settings,
  runtime: Runtime,
  context: StatementContext,
  work: () => Promise<void>,
): Promise<void> {
  const limitMs = timeSettingMs(settings.get('statement_timeout'))
  return limitMs === 0 ? work() : limited(limitMs, runtime, context, work)
}

async function limited(
  limitMs: number,
  runtime: Runtime,
  context: StatementContext,
  work: () => Promise<void>,
): Promise<void> {
  const done = new AbortController()
  runtime.sleep(limitMs, done.signal).then(
    () =>
      context.abort(
        new DatabaseError(SqlState.queryCanceled, 'canceling statement due to statement timeout'),
      ),
    () => {},
  )
  try {
    await work()
  } finally {
    done.abort()
  }
}

import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { Settings } from '#nodes/proxy/session/settings.js'
import { timeSettingMs } from '#nodes/proxy/session/statement-timeout.js'

/** Waits for a lock, lock_timeout at most. @throws 55P03; what `work` throws */
export async function withLockTimeout<T>(
  settings: Settings,
  runtime: Runtime,
  context: Context,
  work: (context: Context) => Promise<T>,
): Promise<T> {
  const limitMs = timeSettingMs(settings.get('lock_timeout'))
  if (limitMs === 0) return work(context)
  const late = new AbortController()
  const done = new AbortController()
  runtime.sleep(limitMs, done.signal).then(
    () =>
      late.abort(
        new DatabaseError(SqlState.lockNotAvailable, 'canceling statement due to lock timeout'),
      ),
    () => {},
  )
  try {
    return await work({
      queryId: context.queryId,
      signal: AbortSignal.any([context.signal, late.signal]),
    })
  } finally {
    done.abort()
  }
}

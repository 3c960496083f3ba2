import { withLockTimeout } from '#nodes/proxy/session/lock-timeout.js'
import type { WantedLocks } from '#nodes/proxy/session/session-locks.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'

/**
 * Holds locks, and waits for them if it must.
 * @returns false after waiting, unless it takes them then: what is locked may have changed
 * @throws 40P01; 55P03 after lock_timeout; 40001
 */
export async function holdLocks(execution: Execution, wanted: WantedLocks): Promise<boolean> {
  const { environment, memory, settings, context } = execution
  if (await memory.locks.attempt(wanted, context)) return true
  return await withLockTimeout(settings, environment.runtime, context, (limited) =>
    memory.locks.wait(wanted, limited),
  )
}

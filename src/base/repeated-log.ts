/** Says what is tried again and again once in full, then once a minute, with how often it was: an outage is not a flood of stacks. */
import { describeError, type Log } from '#base/log.js'
import type { Runtime } from '#base/runtime.js'

const everyMs = 60_000
/** More are told each time: whoever has so many kinds of trouble should see them. */
const kindsMax = 200

interface Told {
  /** Monotonic. */
  atMs: number
  /** Since then. */
  repeated: number
}

/** @returns for warnings; what differs in numbers alone (ports, positions, times) is the same */
export function logRepeated(
  log: Log,
  runtime: Pick<Runtime, 'monotonicMs'>,
): (what: string, error: unknown) => void {
  const kinds = new Map<string, Told>()

  return (what, error) => {
    const nowMs = runtime.monotonicMs()
    const words = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    const kind = `${what}\n${words.replaceAll(/\d+/g, '0')}`
    const told = kinds.get(kind)
    if (told !== undefined && nowMs - told.atMs < everyMs) {
      told.repeated += 1
      return
    }
    forget(kinds, nowMs)
    if (kinds.has(kind) || kinds.size < kindsMax) kinds.set(kind, { atMs: nowMs, repeated: 0 })
    if (told === undefined || told.repeated === 0)
      log('warn', what, { error: describeError(error) })
    else log('warn', what, { error: words, repeated: told.repeated })
  }
}

/** What has not come for a while is told in full when it comes again. */
function forget(kinds: Map<string, Told>, nowMs: number): void {
  for (const [kind, { atMs }] of kinds) if (nowMs - atMs >= 2 * everyMs) kinds.delete(kind)
}

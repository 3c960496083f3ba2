/**
 * Timestamps, strictly rising for ever (TS-1): across restarts, changes of leader and clocks that step back.
 *
 * 1. A limit is persisted; timestamps below it are handed out from memory, following the clock.
 * 2. When the clock comes near the limit, a higher limit is persisted, and only then used.
 * 3. A new oracle starts at the persisted limit: whatever the one before handed out is below.
 * 4. Asked for one above a timestamp, it jumps there, unless that is too far ahead of the clock: then the clock is waited for.
 */
import { invariant } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import { type Timestamp, timestampFrom, timestampToUnixMs, timestampZero } from '#base/timestamp.js'

/**
 * How far ahead of the clock the limit is put: a restart makes timestamps run ahead of the clock by at most this. Short at
 * first and then doubled, so that leaders which change all the time do not push time ahead of the clock by a long lease each.
 */
const leaseMsFirst = 125
const leaseMsMax = 4000
/** Owners' leases end that far ahead at most; a timestamp from nowhere must not carry everybody off into the future. */
const jumpMsMax = 10_000
/** Between looks at the clock. */
const waitMsMax = 100

export interface TimestampOracle {
  now(): Timestamp | undefined
  next(above?: Timestamp): Promise<Timestamp>
}

/**
 * @param limit the persisted limit, 0 if there is none
 * @param persistLimit resolves when the limit is durable
 */
export function createTimestampOracle(
  runtime: Runtime,
  limit: number,
  persistLimit: (limit: number) => Promise<void>,
): TimestampOracle {
  let last = Math.max(limit - 1, 0)
  let leased = limit
  let leaseMs = leaseMsFirst
  let renewBeforeMs = 0
  let renewal: Promise<void> | undefined

  function candidate(): number {
    return Math.max(last + 1, timestampFrom(runtime.nowMs(), 0))
  }

  function renew(): Promise<void> {
    renewal ??= extend().finally(() => {
      renewal = undefined
    })
    return renewal
  }

  async function extend(): Promise<void> {
    const wanted = candidate() + timestampSpan(leaseMs)
    await persistLimit(wanted)
    invariant('TS-1', wanted > leased, () => `limit falls from ${leased} to ${wanted}`)
    leased = wanted
    renewBeforeMs = leaseMs / 2
    leaseMs = Math.min(leaseMs * 2, leaseMsMax)
  }

  function now(): Timestamp | undefined {
    const next = candidate()
    if (next >= leased) return undefined
    // Renewed in the background before it is needed; if that fails the caller of next() hears why.
    if (next + timestampSpan(renewBeforeMs) >= leased) renew().catch(() => {})
    last = next
    return next as Timestamp
  }

  return {
    now,
    async next(above = timestampZero) {
      for (;;) {
        const aheadMs = timestampToUnixMs(above) - runtime.nowMs() - jumpMsMax
        if (last < above && aheadMs > 0) {
          await runtime.sleep(Math.min(aheadMs, waitMsMax))
          continue
        }
        last = Math.max(last, above)
        const timestamp = now()
        if (timestamp !== undefined) return timestamp
        await renew()
      }
    },
  }
}

function timestampSpan(milliseconds: number): number {
  return timestampFrom(milliseconds, 0) - timestampFrom(0, 0)
}

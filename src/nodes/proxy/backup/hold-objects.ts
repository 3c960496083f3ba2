/**
 * Objects stay while someone copies them: a setting that the collectors look at (streaming/collect.ts). In the oracle's time, so
 * that one whose holder has died ends by itself.
 */
import { timestampFrom, timestampToUnixMs } from '#base/timestamp.js'
import { type Coordinator, objectHoldPrefix } from '#nodes/coordinator/contract.js'

/** Again: longer. */
export async function holdObjects(
  coordinator: Coordinator,
  id: string,
  forMs: number,
): Promise<void> {
  const now = await coordinator.timestamp()
  const until = timestampFrom(timestampToUnixMs(now) + forMs, 0)
  await coordinator.putSetting(objectHoldPrefix + id, new TextEncoder().encode(String(until)))
}

export async function releaseObjects(coordinator: Coordinator, id: string): Promise<void> {
  await coordinator.putSetting(objectHoldPrefix + id, undefined)
}

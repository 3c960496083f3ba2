/** Which growing segments are closed without being asked for. Pure. */
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { StreamingLimits } from '#nodes/streaming/limits.js'

export type SealReason = 'size' | 'age' | 'idle' | 'log'

/**
 * @param logHeldTo log positions below should be given up, as far as growing segments hold them
 * @param nowMs monotonic milliseconds
 */
export function reasonToSeal(
  segment: Pick<
    GrowingSegment,
    'byteLength' | 'rowCount' | 'lastAppendMs' | 'openedMs' | 'firstPosition'
  >,
  limits: StreamingLimits,
  nowMs: number,
  logHeldTo: number,
): SealReason | undefined {
  if (segment.rowCount === 0) return undefined
  if (segment.byteLength >= limits.segmentBytesMax) return 'size'
  if (segment.firstPosition < logHeldTo) return 'log'
  if (nowMs - segment.openedMs >= limits.sealAgeMs) return 'age'
  const isIdle = nowMs - segment.lastAppendMs >= limits.sealIdleMs
  return isIdle && segment.rowCount >= limits.sealIdleRowCountMin ? 'idle' : undefined
}

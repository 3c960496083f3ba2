/**
 * What may be on record of tables that are dropped: noted when they are, struck at once. What could not be, because the coordinator
 * did not answer, is struck by the background; after a crash when the log channel is opened (recover.ts).
 */
import type { StreamingState } from '#nodes/streaming/state.js'

/** Resolves when none is on record. @throws StoreError; then they stay noted */
export async function strikeOrphans({ garbage, coordinator }: StreamingState): Promise<void> {
  const { segmentIds, checkpoints } = garbage.orphans
  const remove = [...segmentIds]
  const names = [...checkpoints]
  if (remove.length === 0 && names.length === 0) return
  const gone = new Map(names.map((name) => [name, -1]))
  await coordinator.switchSegments({ add: [], remove, checkpoints: gone })
  for (const segmentId of remove) segmentIds.delete(segmentId)
  for (const name of names) checkpoints.delete(name)
}

/**
 * Compares index files that are in use with their checksums, one at a time in the background. A damaged one is taken out: its segment is
 * searched exactly until the index is built anew.
 */
import { localPath } from '#engine/segment/load-sealed.js'
import type { KnownSegment } from '#nodes/query/known-segment.js'
import type { Loading } from '#nodes/query/load.js'

export async function verifyIndexes(
  { native, loader }: Loading,
  known: KnownSegment,
  onDamaged: (error: unknown) => void,
): Promise<void> {
  for (const { object } of known.manifest.indexes) {
    if (!known.trusted.delete(object.name) || !known.gate.enter()) continue
    try {
      const index = await native.loadHnsw(await localPath(loader, object), true)
      index.close()
      known.verified.add(object.name)
    } catch (error) {
      known.damaged.add(object.name)
      onDamaged(error)
    } finally {
      known.gate.leave()
    }
  }
}

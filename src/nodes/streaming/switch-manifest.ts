/** A flushed segment gets a newer manifest: an index more, its deletes written down. */
import { backgroundContext, type Context } from '#base/context.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { unappliedSince } from '#nodes/streaming/needed-position.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

const nothing: ReadonlyMap<string, number> = new Map()

/** Takes over the indexes; what else changed in the manifest meanwhile stays. */
export async function switchIndexes(
  state: StreamingState,
  channel: Channel,
  entry: SealedEntry,
  indexes: SegmentManifest['indexes'],
  schema: TableSchema,
): Promise<void> {
  await state.switching.run(async () => {
    if (channel.dropped || !channel.view.sealed.includes(entry)) return
    const manifest = { ...entry.manifest, indexes }
    await state.coordinator.switchSegments({ add: [manifest], remove: [], checkpoints: nothing })
    await state.queryNode.load(manifest, schema)
    entry.manifest = manifest
  })
}

/** Writes the segment's deletes down, so that the log need not keep them. */
export async function saveDeletes(
  state: StreamingState,
  channel: Channel,
  entry: SealedEntry,
  context: Context = backgroundContext,
): Promise<void> {
  await state.switching.run(() => writeDeletesDown(state, channel, entry, context))
}

/** Inside state.switching. */
export async function writeDeletesDown(
  state: StreamingState,
  channel: Channel,
  entry: SealedEntry,
  context: Context,
): Promise<void> {
  if (entry.deletes.unsavedSince === Number.POSITIVE_INFINITY) return
  if (channel.dropped || !channel.view.sealed.includes(entry)) return
  const { schema } = tableOf(state, channel.tableId)
  const since = unappliedSince(state, channel)
  const { count } = entry.deletes
  const manifest = await state.dataNode.writeDeletes(
    { ...entry.manifest, deletesUntil: state.commits.appliedTime },
    entry.deletes.sorted(),
    context,
  )
  // Dropped meanwhile: its segments are struck from the records, or will be; they must not come back.
  if (channel.dropped || !channel.view.sealed.includes(entry)) return
  await state.coordinator.switchSegments({ add: [manifest], remove: [], checkpoints: nothing })
  if (channel.dropped) return
  // Who brings the segment into memory again must not look for the deletes object of before: nothing names it any more, it goes.
  await state.queryNode.load(manifest, schema)
  entry.manifest = manifest
  entry.deletes.unsavedSince = entry.deletes.count === count ? Number.POSITIVE_INFINITY : since
}

/**
 * Removes objects that nobody needs (docs/adr/2026-11-21-collecting-objects.md).
 *
 * 1. A segment that left the views of this node: when its last reader is gone and the coordinator names it no more, at once.
 * 2. What a crash, or a job given up, has left: found by listing. An object that no manifest names is noted; one that was
 *    noted before, and that long ago, is condemned, then goes. Only the owner of the first log channel looks.
 *
 * Invariants: OBJ-1. Names are listed before manifests are asked for, so an object of a segment that is recorded in between
 * is not taken for garbage; one of a job still running is younger than the grace. Should it not be (a job that was suspended, a
 * collector that was), the coordinator refuses the job's manifest, or the condemnation, and the job is done again with other
 * objects. It refuses a deposed owner's condemnation, too, and a deposed coordinator's word is not recorded. What 1 removes can
 * come back no more: ids of segments are given once, and who might record it again has no right to (owned-coordinator.ts).
 * Crash: what was noted is noted anew. Retry: deleting is idempotent; what fails stays noted.
 */
import { backgroundContext, type Context } from '#base/context.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { isManifestName, namedObjects, segmentPrefix } from '#engine/segment/object-names.js'
import { objectHoldPrefix } from '#nodes/coordinator/contract.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import { strikeOrphans } from '#nodes/streaming/orphans.js'
import { allChannels, type StreamingState } from '#nodes/streaming/state.js'

/** Gives the segment back when the reads inside are done; then its objects may go. */
export async function releaseSegment(
  { queryNode, garbage }: StreamingState,
  { segmentId, tableId, incarnation }: SegmentManifest,
): Promise<void> {
  await queryNode.release(segmentId)
  garbage.segments.set(segmentId, { segmentId, tableId, incarnation })
}

/** Recorded while its table was dropped: it is struck, by the background if it cannot be now. @throws StoreError */
export async function forgetSegment(
  state: StreamingState,
  manifest: SegmentManifest,
): Promise<void> {
  state.garbage.orphans.segmentIds.add(manifest.segmentId)
  await releaseSegment(state, manifest)
  await strikeOrphans(state)
}

/** For views that nobody reads any more. */
export function releaseSegments(
  state: StreamingState,
  manifests: readonly SegmentManifest[],
): () => void {
  return () => {
    // A release that fails leaves the objects to the scan.
    for (const manifest of manifests) {
      const releasing = releaseSegment(state, manifest).catch(() => {})
      state.garbage.releasing.add(releasing)
      void releasing.finally(() => state.garbage.releasing.delete(releasing))
    }
  }
}

export async function collect(
  state: StreamingState,
  context: Context = backgroundContext,
): Promise<void> {
  await collectReleased(state, context)
  if (state.logChannel !== logChannelOf(0, 0, state.logChannelCount)) return
  const nowMs = state.runtime.monotonicMs()
  if (nowMs < state.garbage.nextScanMs) return
  // At least four looks per grace.
  state.garbage.nextScanMs = nowMs + state.limits.orphanGraceMs / 4
  await collectUnnamed(state, context)
}

export async function collectReleased(
  state: StreamingState,
  context: Context = backgroundContext,
): Promise<void> {
  const { garbage, coordinator, dataNode } = state
  await strikeOrphans(state)
  await Promise.all(garbage.releasing)
  if (garbage.segments.size === 0) return
  const released = [...garbage.segments.values()]
  const named = new Set((await coordinator.segments()).map(({ segmentId }) => segmentId))
  if (await areHeld(state)) return
  await coordinator.secure()
  for (const segment of released) {
    // Its removal is being recorded.
    if (named.has(segment.segmentId)) continue
    await dataNode.removeSegment(segment, context)
    garbage.segments.delete(segment.segmentId)
  }
}

export async function collectUnnamed(
  state: StreamingState,
  context: Context = backgroundContext,
): Promise<void> {
  const { garbage, dataNode, coordinator, runtime, limits } = state
  const listed: string[] = []
  for await (const name of dataNode.listObjects(context)) listed.push(name)
  const isNeeded = neededBy(state, await coordinator.segments())
  const nowMs = runtime.monotonicMs()
  const before = new Map(garbage.unnamed)
  garbage.unnamed.clear()
  const gone: string[] = []
  for (const name of listed) {
    if (isNeeded(name)) continue
    const since = before.get(name) ?? nowMs
    garbage.unnamed.set(name, since)
    if (before.has(name) && nowMs - since >= limits.orphanGraceMs) gone.push(name)
  }
  if (gone.length === 0 || (await areHeld(state))) return
  await coordinator.switchSegments({
    ...{ add: [], remove: [], checkpoints: new Map() },
    condemn: gone,
  })
  await coordinator.secure()
  await dataNode.removeObjects(gone, context)
  for (const name of gone) garbage.unnamed.delete(name)
}

/**
 * Asked after the manifests: whoever holds objects looks at manifests later, and finds none that name what goes here. Holds that
 * have ended without their holder are forgotten.
 */
async function areHeld({ coordinator }: StreamingState): Promise<boolean> {
  const holds = await coordinator.listSettings(objectHoldPrefix)
  if (holds.length === 0) return false
  const now = await coordinator.timestamp()
  let isHeld = false
  for (const { key, value } of holds) {
    if (Number(new TextDecoder().decode(value)) > now) isHeld = true
    else await coordinator.putSetting(key, undefined)
  }
  return isHeld
}

/** What the manifests name, copies of manifests of these segments, and what is being flushed here. */
function neededBy(
  state: StreamingState,
  manifests: readonly SegmentManifest[],
): (name: string) => boolean {
  const named = new Set<string>()
  const recorded = new Set<string>()
  for (const manifest of manifests) {
    for (const name of namedObjects(manifest)) named.add(name)
    recorded.add(segmentPrefix(manifest))
  }
  const flushing = new Set<string>()
  for (const { view } of allChannels(state)) {
    for (const { segmentId, schema, incarnation } of view.growing) {
      flushing.add(segmentPrefix({ segmentId, tableId: schema.tableId, incarnation }))
    }
  }
  return (name) => {
    if (named.has(name)) return true
    const prefix = name.slice(0, name.lastIndexOf('/') + 1)
    return flushing.has(prefix) || (isManifestName(name) && recorded.has(prefix))
  }
}

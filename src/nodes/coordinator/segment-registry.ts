/** Which flushed segments exist and from where each channel's log is still needed; both move in one meta write. */
import { invariant } from '#base/errors.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import { openCondemned } from '#nodes/coordinator/condemned.js'
import type { SegmentChange } from '#nodes/coordinator/contract.js'
import type { FencedMeta } from '#nodes/coordinator/fenced-meta.js'
import {
  decodeJson,
  decodeNumber,
  encodeJson,
  encodeNumber,
  metaKeys,
} from '#nodes/coordinator/meta-keys.js'
import type { OwnerSteps } from '#nodes/coordinator/owners.js'
import type { MetaOperation, MetaStore } from '#storage/meta/meta.js'

export interface SegmentRegistry {
  /** The same array until something changes. */
  segments(): readonly SegmentManifest[]
  checkpoints(): ReadonlyMap<string, number>
  switch(change: SegmentChange): Promise<void>
}

export async function openSegmentRegistry(
  meta: MetaStore,
  fenced: FencedMeta,
  steps: OwnerSteps,
): Promise<SegmentRegistry> {
  let manifests = new Map<number, SegmentManifest>()
  let checkpoints = new Map<string, number>()
  let listed: readonly SegmentManifest[] | undefined

  async function load(): Promise<void> {
    const loaded = (await meta.list(metaKeys.segmentPrefix)).map(({ value }) =>
      decodeManifest(value),
    )
    const positions = await meta.list(metaKeys.checkpointPrefix)
    manifests = new Map(loaded.map((manifest) => [manifest.segmentId, manifest]))
    listed = undefined
    checkpoints = new Map(
      positions.map(({ key, value }) => [
        key.slice(metaKeys.checkpointPrefix.length),
        decodeNumber(value),
      ]),
    )
  }
  await load()
  fenced.onUnclear(load)
  const condemned = await openCondemned(meta, fenced)

  return {
    segments() {
      listed ??= [...manifests.values()]
      return listed
    },
    checkpoints: () => new Map(checkpoints),
    switch: (change) =>
      fenced.exclusively(async () => {
        const step = await steps.begin(change.by)
        if (step === 'done') return
        condemned.check(change.add)
        const operations = [
          ...operationsOf(change, checkpoints),
          ...(await condemned.condemn(change.condemn ?? [], manifests.values())),
          ...step,
        ]
        if (operations.length > 0) await fenced.write(operations)
        condemned.done(operations)
        if (change.add.length > 0 || change.remove.length > 0) listed = undefined
        for (const segmentId of change.remove) manifests.delete(segmentId)
        for (const manifest of change.add) manifests.set(manifest.segmentId, manifest)
        for (const [channel, position] of change.checkpoints) {
          if (position < 0) checkpoints.delete(channel)
          else checkpoints.set(channel, position)
        }
      }),
  }
}

function operationsOf(
  change: SegmentChange,
  checkpoints: ReadonlyMap<string, number>,
): MetaOperation[] {
  const operations: MetaOperation[] = []
  // A segment that goes and comes is a newer manifest of the same: one operation per key.
  const added = new Set(change.add.map((manifest) => manifest.segmentId))
  for (const segmentId of change.remove) {
    if (added.has(segmentId)) continue
    operations.push({ kind: 'delete', key: metaKeys.segment(segmentId) })
  }
  for (const manifest of change.add) {
    const key = metaKeys.segment(manifest.segmentId)
    operations.push({ kind: 'put', key, value: encodeJson(manifest) })
  }
  for (const [channel, position] of change.checkpoints) {
    const key = metaKeys.checkpoint(channel)
    if (position < 0) {
      operations.push({ kind: 'delete', key })
      continue
    }
    invariant(
      'WAL-4',
      position >= (checkpoints.get(channel) ?? 0),
      () => `checkpoint of ${channel} falls to ${position}`,
    )
    operations.push({ kind: 'put', key, value: encodeNumber(position) })
  }
  return operations
}

function decodeManifest(value: Uint8Array): SegmentManifest {
  const manifest = decodeJson(value) as SegmentManifest
  invariant(
    'SEG-4',
    manifest.formatVersion === 1,
    () => `manifest of version ${manifest.formatVersion}`,
  )
  return manifest
}

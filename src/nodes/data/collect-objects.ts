/** What the collector does to the object store; which objects nobody needs is decided elsewhere (nodes/streaming/collect.ts). */
import { type Context, checkCancelled } from '#base/context.js'
import {
  type SegmentIdentity,
  segmentPrefix,
  segmentsPrefix,
} from '#engine/segment/object-names.js'
import type { ObjectStore } from '#storage/objects/objects.js'

/** Objects of all segments of all tables. */
export async function* listSegmentObjects(
  objects: ObjectStore,
  context: Context,
): AsyncGenerator<string, void> {
  for await (const { name } of objects.list(segmentsPrefix)) {
    checkCancelled(context)
    yield name
  }
}

/** Idempotent. The manifest's copies go last: who finds one finds what it names, or knows that the segment is going. */
export async function removeSegment(
  objects: ObjectStore,
  segment: SegmentIdentity,
  context: Context,
): Promise<void> {
  const names: string[] = []
  for await (const { name } of objects.list(segmentPrefix(segment))) names.push(name)
  const last = (name: string) => (name.endsWith('.json') ? 1 : 0)
  for (const name of names.sort((a, b) => last(a) - last(b))) {
    checkCancelled(context)
    await objects.delete(name)
  }
}

export async function removeObjects(
  objects: ObjectStore,
  names: readonly string[],
  context: Context,
): Promise<void> {
  for (const name of names) {
    checkCancelled(context)
    await objects.delete(name)
  }
}

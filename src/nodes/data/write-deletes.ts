import { type Context, checkCancelled } from '#base/context.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { DeletedRows } from '#engine/segment/write-sealed.js'
import type { Jobs } from '#nodes/data/jobs.js'
import { putDeletes, putManifest } from '#nodes/data/put-segment.js'

/** A new manifest whose deletes are these instead of earlier ones. Retry: the same deletes give the same object. */
export async function writeDeletes(
  jobs: Jobs,
  manifest: SegmentManifest,
  deletes: DeletedRows,
  context: Context,
): Promise<SegmentManifest> {
  checkCancelled(context)
  const object = await putDeletes(jobs.writer, manifest, deletes, context)
  const next = { ...manifest, deletes: object }
  await putManifest(jobs.writer, next)
  return next
}

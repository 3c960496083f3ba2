import type { Native } from '#engine/index/native.js'
import type { SegmentLoader } from '#engine/segment/load-sealed.js'
import type { ObjectWriter } from '#nodes/data/write-object.js'

/** What every job of a data node needs. */
export interface Jobs {
  readonly native: Native
  readonly loader: SegmentLoader
  readonly writer: ObjectWriter
  /** Awaited between slices of synchronous work. */
  readonly pause: () => Promise<void>
  readonly threads: number
}

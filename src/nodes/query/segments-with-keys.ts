import type { ScanFragment } from '#engine/plan/fragment.js'
import { keyColumns } from '#engine/segment/key-index.js'
import { mayHoldKeys } from '#engine/segment/may-hold-keys.js'
import type { KnownSegment } from '#nodes/query/known-segment.js'

/** Without those whose statistics rule the keys out: a look-up by key does not bring every cold segment into memory. */
export function segmentsWithKeys(
  known: readonly KnownSegment[],
  { indexOid, values }: NonNullable<ScanFragment['keys']>,
): readonly KnownSegment[] {
  return known.filter(({ manifest, schema }) => {
    const key = schema.keys.find((candidate) => candidate.indexOid === indexOid)
    if (key === undefined) return true
    const columns = key.attnums.flatMap(
      (attnum) => schema.columns.find((candidate) => candidate.attnum === attnum) ?? [],
    )
    if (columns.length < key.attnums.length) return true
    return mayHoldKeys(manifest, key.attnums, keyColumns(columns, values), values.length)
  })
}

import type { ScanFragment } from '#engine/plan/fragment.js'
import { hashKeyRow } from '#engine/segment/key-hash.js'
import { keyColumns } from '#engine/segment/key-index.js'
import { mayHoldKeys } from '#engine/segment/may-hold-keys.js'
import type { KnownSegment } from '#nodes/query/known-segment.js'

/**
 * Without those that cannot have one of the keys, by the manifest's statistics or by a filter of the keys that were there (rows never
 * get others): a look-up does not bring every cold segment into memory.
 */
export function segmentsWithKeys(
  known: readonly KnownSegment[],
  { indexOid, values }: NonNullable<ScanFragment['keys']>,
): readonly KnownSegment[] {
  return known.filter(({ manifest, schema, keyFilters }) => {
    const key = schema.keys.find((candidate) => candidate.indexOid === indexOid)
    if (key === undefined) return true
    const schemas = key.attnums.flatMap(
      (attnum) => schema.columns.find((candidate) => candidate.attnum === attnum) ?? [],
    )
    if (schemas.length < key.attnums.length) return true
    const columns = keyColumns(schemas, values)
    if (!mayHoldKeys(manifest, key.attnums, columns, values.length)) return false
    const filter = keyFilters.get(indexOid)
    if (filter === undefined) return true
    const typeNames = schemas.map(({ typeName }) => typeName)
    return values.some((_, row) => filter.mayHold(hashKeyRow(columns, typeNames, row)))
  })
}

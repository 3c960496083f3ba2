/** A segment of a backup as one of a table of another database: other ids, the same objects under other names. */
import { randomBytes } from 'node:crypto'
import type { ObjectReference, SegmentManifest } from '#engine/segment/manifest.js'
import { dataName, deletesName, indexName } from '#engine/segment/object-names.js'
import type { TableFacts } from '#nodes/proxy/backup/facts.js'

const unique = () => randomBytes(8).toString('hex')

export interface Move {
  readonly table: TableFacts
  /** OIDs of indexes, there by here; those that are not made are left out. */
  readonly indexes: ReadonlyMap<number, number>
}

export interface MovedSegment {
  readonly manifest: SegmentManifest
  readonly copies: readonly { readonly object: ObjectReference; readonly to: string }[]
}

export function moveSegment(
  manifest: SegmentManifest,
  { table, indexes }: Move,
  segmentId: number,
): MovedSegment {
  const identity = { tableId: table.oid, incarnation: table.incarnation, segmentId }
  const copies: { object: ObjectReference; to: string }[] = []
  const moved = (object: ObjectReference, to: string): ObjectReference => {
    copies.push({ object, to })
    return { ...object, name: to }
  }
  // Timestamps of another oracle, and no log here has deletes of these rows.
  const { deletesUntil: _, ...rest } = manifest
  const { data, deletes } = rest
  const next: SegmentManifest = {
    ...rest,
    ...identity,
    data: moved(data, dataName(identity, unique(), data.checksum)),
    ...(deletes === undefined
      ? {}
      : { deletes: moved(deletes, deletesName(identity, unique(), deletes.checksum)) }),
    indexes: manifest.indexes.flatMap((index) => {
      const indexOid = indexes.get(index.indexOid)
      if (indexOid === undefined) return []
      const to = indexName(identity, indexOid, unique(), index.object.checksum)
      return [{ ...index, indexOid, object: moved(index.object, to) }]
    }),
  }
  return { manifest: next, copies }
}

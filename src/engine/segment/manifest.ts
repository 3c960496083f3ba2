/** A sealed segment's manifest: the only truth about its objects. JSON in the meta store and beside the objects. */
export interface SegmentManifest {
  readonly formatVersion: 1
  readonly segmentId: number
  readonly tableId: number
  readonly shard: number
  readonly incarnation: number
  readonly rowCount: number
  /** Row ids of the first and last row; rows are in ascending row id order. */
  readonly minRowId: number
  readonly maxRowId: number
  readonly minTimestamp: number
  readonly maxTimestamp: number
  /** Arrow IPC file: columns named a<attnum>, then _rowid, _inserted (float64). */
  readonly data: ObjectReference
  /** Deletes known when the manifest was written: Arrow IPC of (_rowid, _deleted). */
  readonly deletes?: ObjectReference | undefined
  /**
   * Every delete of these rows that was committed at or before is in the deletes object, or its row was left out. So the log says
   * nothing about them any more, even where it is kept for other rows. Absent in older manifests, and where there was no such log.
   */
  readonly deletesUntil?: number | undefined
  readonly indexes: readonly IndexReference[]
  readonly columns: readonly ColumnStatistics[]
}

export interface IndexReference {
  readonly indexOid: number
  readonly attnum: number
  readonly metric: string
  readonly object: ObjectReference
}

export interface ObjectReference {
  readonly name: string
  readonly bytes: number
  /** CRC-32 (zlib's, as in the log) of the whole object: 8 hex digits. */
  readonly checksum: string
}

export interface ColumnStatistics {
  readonly attnum: number
  readonly nullCount: number
  /** Base64 of the Datum, for kinds with an order; absent when unknown. */
  readonly min?: string | undefined
  readonly max?: string | undefined
}

/**
 * Looks keys up in the sealed segments of a channel, on query nodes: the part of a check that must be awaited. What is
 * found was live at the applied time; whether it still is, is decided without waiting (check-keys.ts). What is not found
 * cannot appear there, unless the set of sealed segments changes (`generation`).
 */
import type { Context } from '#base/context.js'
import { timestampMax } from '#base/timestamp.js'
import type { Column } from '#engine/columnar/column.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { encodeKey } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { mayHoldKeys } from '#engine/segment/may-hold-keys.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import type { StreamingState } from '#nodes/streaming/state.js'

/** Row of the probe → row id that holds its key. */
export type SealedHits = ReadonlyMap<number, number>

const noHits: SealedHits = new Map()
/** Keys per fragment: what a query node answers in about a millisecond. */
const keysPerFragment = 8192

/** @param columns the key's columns of the rows looked up */
export async function lookUpSealed(
  state: StreamingState,
  channel: Channel,
  schema: TableSchema,
  key: KeyConstraint,
  columns: readonly Column[],
  rowCount: number,
  context: Context,
): Promise<SealedHits> {
  const view = channel.acquireView()
  try {
    const segmentIds = view.sealed
      .filter(
        ({ until, manifest }) =>
          until === timestampMax &&
          manifest.incarnation === schema.incarnation &&
          mayHoldKeys(manifest, key.attnums, columns, rowCount),
      )
      .map(({ segmentId }) => segmentId)
    if (segmentIds.length === 0) return noHits
    const found = new Map<string, number>()
    const keySchemas = schemaColumns(schema, key.attnums)
    const typeNames = keySchemas.map(({ typeName }) => typeName)
    for (let from = 0; from < rowCount; from += keysPerFragment) {
      const values = []
      for (let row = from; row < Math.min(rowCount, from + keysPerFragment); row += 1) {
        if (!key.nullsNotDistinct && columns.some((column) => isNull(column, row))) continue
        values.push(keyDatums(columns, keySchemas, row))
      }
      if (values.length === 0) continue
      const parts = state.queryNode.scan(
        segmentIds,
        {
          tableId: channel.tableId,
          shard: channel.shard,
          readAt: state.commits.newestTime,
          output: key.attnums,
          keys: { indexOid: key.indexOid, values },
        },
        context,
      )
      for await (const { rowIds, batch } of parts) {
        rowIds.forEach((rowId, row) => {
          found.set(encodeKey(batch.columns, row, typeNames), rowId)
        })
      }
    }
    if (found.size === 0) return noHits
    const hits = new Map<number, number>()
    for (let row = 0; row < rowCount; row += 1) {
      const rowId = found.get(encodeKey(columns, row, typeNames))
      if (rowId !== undefined) hits.set(row, rowId)
    }
    return hits
  } finally {
    channel.releaseView(view)
  }
}

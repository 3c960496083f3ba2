/** Before a unique key is taken over: do the rows that are there keep it? */
import { backgroundContext } from '#base/context.js'
import { isNull } from '#engine/columnar/column-builder.js'
import { encodeKey } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { Channel, Table } from '#nodes/streaming/channel.js'
import { isWithinShard } from '#nodes/streaming/key-channels.js'
import { keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import { duplicateInIndex } from '#nodes/streaming/key-error.js'
import { scan } from '#nodes/streaming/scan.js'
import type { StreamingState } from '#nodes/streaming/state.js'

const attemptsMax = 3

/** @throws 23505 'could not create unique index' */
export async function verifyUnique(
  state: StreamingState,
  table: Table,
  schema: TableSchema,
): Promise<void> {
  const added = schema.keys.filter(
    (key) => !table.schema.keys.some(({ indexOid }) => indexOid === key.indexOid),
  )
  for (const key of added) {
    // Columns that come with the key: nothing to read before the schema is taken over, all rows have the missing value.
    const known = schemaColumns(schema, key.attnums)
    if (known.some(({ attnum }) => table.schema.columns.every((c) => c.attnum !== attnum))) continue
    if (isWithinShard(schema, key)) {
      for (const channel of table.channels) await verifyChannels(state, [channel], schema, key)
    } else await verifyChannels(state, table.channels, schema, key)
  }
}

/** The proxy keeps writers out while it creates an index; if some come anyway, what they did is looked at too. */
async function verifyChannels(
  state: StreamingState,
  channels: readonly Channel[],
  schema: TableSchema,
  key: KeyConstraint,
): Promise<void> {
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const before = channels.map(({ nextRowId }) => nextRowId).join()
    const seen = new Set<string>()
    for (const channel of channels) await readKeys(state, channel, schema, key, seen)
    if (channels.map(({ nextRowId }) => nextRowId).join() === before) return
  }
}

async function readKeys(
  state: StreamingState,
  channel: Channel,
  schema: TableSchema,
  key: KeyConstraint,
  seen: Set<string>,
): Promise<void> {
  const { tableId, shard, view } = channel
  if (view.growing.length === 0 && view.sealed.length === 0) return
  const columns = schemaColumns(schema, key.attnums)
  const typeNames = columns.map(({ typeName }) => typeName)
  const readAt = state.commits.newestTime
  const fragment = { tableId, shard, readAt, output: key.attnums }
  for await (const { batch } of scan(state, fragment, backgroundContext)) {
    for (let row = 0; row < batch.rowCount; row += 1) {
      if (!key.nullsNotDistinct && batch.columns.some((column) => isNull(column, row))) continue
      const encoded = encodeKey(batch.columns, row, typeNames)
      if (seen.has(encoded)) {
        throw duplicateInIndex(schema, key, keyDatums(batch.columns, columns, row))
      }
      seen.add(encoded)
    }
  }
}

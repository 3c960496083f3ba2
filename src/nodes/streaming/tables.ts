/** Tables come, change and go. */
import { Mutex } from '#base/async/mutex.js'
import { invariant } from '#base/errors.js'
import { rowIdsPerShard } from '#engine/columnar/row-id.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { Channel, Table } from '#nodes/streaming/channel.js'
import { releaseSegments } from '#nodes/streaming/collect.js'
import { strikeOrphans } from '#nodes/streaming/orphans.js'
import { checkUsable, createTable, type StreamingState } from '#nodes/streaming/state.js'
import { forgetTable, saveTable } from '#nodes/streaming/table-settings.js'
import { verifyUnique } from '#nodes/streaming/verify-unique.js'

const changes = new WeakMap<StreamingState, Mutex>()

function oneByOne<T>(state: StreamingState, section: () => Promise<T>): Promise<T> {
  let mutex = changes.get(state)
  if (mutex === undefined) {
    mutex = new Mutex()
    changes.set(state, mutex)
  }
  return mutex.run(section)
}

/**
 * Durable when it resolves. A new key is verified over the rows that are there (23505 'could not create unique index').
 * A form older than the one that is there changes nothing.
 * A higher incarnation: rows that come from now on have it; those of the old one go with the commit that truncates.
 */
export function putTable(state: StreamingState, schema: TableSchema): Promise<void> {
  return oneByOne(state, async () => {
    checkUsable(state)
    const table = state.tables.get(schema.tableId)
    if (table === undefined || isLeftOver(table, schema)) {
      await saveTable(state.coordinator, schema)
      for (const channel of table?.channels ?? []) empty(channel)
      state.tables.set(schema.tableId, createTable(state, schema))
      state.queryNode.putSchema(schema)
      return
    }
    invariant(
      'SHARD-1',
      table.schema.shardCount === schema.shardCount,
      'the number of shards of a table does not change',
    )
    // A message that was late, or of a proxy that has not heard of the newest DDL yet.
    if (schema.version < table.schema.version) return
    const isRewrite = schema.incarnation !== table.schema.incarnation
    if (!isRewrite) await verifyUnique(state, table, schema)
    await saveTable(state.coordinator, schema)
    const before = table.schema
    table.schema = schema
    state.queryNode.putSchema(schema)
    for (const channel of table.channels) takeOver(state, channel, before, schema)
  })
}

/**
 * Of a CREATE TABLE that was cut short: another has got the OID. What differs otherwise is a change of form like any other.
 */
function isLeftOver({ schema: before, channels }: Table, schema: TableSchema): boolean {
  if (before.shardCount === schema.shardCount || before.version >= schema.version) return false
  return channels.every(
    ({ shard, nextRowId, undecided, view: { growing, sealed } }) =>
      nextRowId === shard * rowIdsPerShard + 1 &&
      undecided.size === 0 &&
      sealed.length === 0 &&
      growing.every(({ rowCount }) => rowCount === 0),
  )
}

/** Nothing in it is or ever was visible to anyone. */
function empty(channel: Channel): void {
  channel.dropped = true
  const { growing } = channel.view
  channel.switchView([], [], () => {
    for (const segment of growing) segment.close()
  })
}

function takeOver(
  state: StreamingState,
  channel: Channel,
  before: TableSchema,
  schema: TableSchema,
): void {
  for (const segment of channel.view.growing) {
    if (segment.incarnation === schema.incarnation) segment.putKeys(schema)
  }
  // What was looked up was for the keys of before.
  channel.sealedGeneration += 1
  const hasNewKey = schema.keys.some(
    (key) => !before.keys.some(({ indexOid }) => indexOid === key.indexOid),
  )
  if (!hasNewKey) return
  for (const stage of state.stages.values()) {
    if (stage.channel === channel) stage.isSuspect = true
  }
}

/** Durable when it resolves; readers inside end first, then memory is given back. Objects are collected later. */
export function dropTable(state: StreamingState, tableId: number): Promise<void> {
  return oneByOne(state, async () => {
    checkUsable(state)
    const table = state.tables.get(tableId)
    if (table === undefined) {
      // Of an attempt before.
      await strikeOrphans(state)
      return
    }
    await forgetTable(state.coordinator, tableId)
    state.tables.delete(tableId)
    for (const channel of table.channels) {
      channel.dropped = true
      state.garbage.orphans.addChannel(channel)
      const { growing, sealed } = channel.view
      channel.switchView([], [], () => {
        for (const segment of growing) segment.close()
        releaseSegments(
          state,
          sealed.map(({ manifest }) => manifest),
        )()
      })
    }
    // Crash before this: recovery strikes segments of unknown tables.
    await strikeOrphans(state)
  })
}

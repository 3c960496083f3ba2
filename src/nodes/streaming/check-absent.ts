/** Keys that a transaction's rows on other log channels bring: whether they are free here. */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Column } from '#engine/columnar/column.js'
import { encodeKey, keyHasNull } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { InsertScope } from '#nodes/streaming/check-inserts.js'
import { checkKeys } from '#nodes/streaming/check-keys.js'
import type { CommitVerdict } from '#nodes/streaming/commit-verdict.js'
import type { AbsentKeys } from '#nodes/streaming/contract.js'
import { generationOf } from '#nodes/streaming/key-channels.js'
import { keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import { uniqueViolation } from '#nodes/streaming/key-error.js'
import type { KeyRecord } from '#nodes/streaming/prepare-record.js'
import { lookUpSealed, type SealedHits } from '#nodes/streaming/sealed-keys.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'

export interface PlannedAbsent {
  readonly schema: TableSchema
  readonly key: KeyConstraint
  readonly columns: readonly Column[]
  readonly rowCount: number
  /** All of the table that are this node's. */
  readonly channels: readonly Channel[]
  /** Each key once. */
  readonly records: readonly KeyRecord[]
  generation: number
  /** Per channel. */
  sealed: readonly SealedHits[]
}

const nothing: SealedHits = new Map()

/** @throws 42P01, 42704; 23505 when the same key comes twice */
export function planAbsent(state: StreamingState, absent: AbsentKeys): PlannedAbsent {
  const { schema, channels } = tableOf(state, absent.tableId)
  const key = schema.keys.find(({ indexOid }) => indexOid === absent.indexOid)
  if (key === undefined) {
    throw new DatabaseError(
      SqlState.undefinedObject,
      `index with OID ${absent.indexOid} does not exist`,
    )
  }
  const { columns, rowCount } = absent.keys
  const columnSchemas = schemaColumns(schema, key.attnums)
  const typeNames = columnSchemas.map(({ typeName }) => typeName)
  const records = new Map<string, KeyRecord>()
  for (let row = 0; row < rowCount; row += 1) {
    if (!key.nullsNotDistinct && keyHasNull(columns, row)) continue
    const encoded = encodeKey(columns, row, typeNames)
    if (records.has(encoded)) {
      throw uniqueViolation(schema, key, keyDatums(columns, columnSchemas, row))
    }
    const { tableId, indexOid } = absent
    records.set(encoded, { tableId, indexOid, key: encoded })
  }
  return {
    schema,
    key,
    columns,
    rowCount,
    channels,
    records: [...records.values()],
    generation: -1,
    sealed: [],
  }
}

/** Asks query nodes; undefined when there is nothing to ask. */
export function lookUpAbsent(
  state: StreamingState,
  absent: PlannedAbsent,
  context: Context,
): Promise<void> | undefined {
  const { channels, schema, key, columns, rowCount } = absent
  const generation = generationOf(channels)
  if (absent.generation === generation) return undefined
  absent.generation = generation
  absent.sealed = []
  if (channels.every(({ view }) => view.sealed.length === 0)) return undefined
  const lookUps = channels.map((channel) =>
    lookUpSealed(state, channel, schema, key, columns, rowCount, context),
  )
  return Promise.all(lookUps).then((sealed) => {
    absent.sealed = sealed
  })
}

export function checkAbsent(
  state: StreamingState,
  absent: PlannedAbsent,
  scope: InsertScope,
): CommitVerdict | undefined {
  const { schema, key, columns, rowCount, channels } = absent
  if (tableOf(state, schema.tableId).schema !== schema) return { kind: 'again' }
  if (absent.generation !== generationOf(channels)) return { kind: 'again' }
  const held = state.transactions.heldKeys(key.indexOid)
  if (held !== undefined) {
    for (const record of absent.records) {
      const holder = held.get(record.key)
      if (holder !== undefined) return { kind: 'wait', on: holder }
    }
  }
  for (let i = 0; i < channels.length; i += 1) {
    const channel = channels[i]
    if (channel === undefined) continue
    const { deletes, truncate } = scope.removedFrom(channel)
    const verdict = checkKeys(state, channel, {
      key,
      columns,
      schema,
      from: 0,
      to: rowCount,
      sealed: absent.sealed[i] ?? nothing,
      deletes,
      truncate,
      ownStages: scope.ownStages,
      onStaged: (stageId, segment, ordinal) => {
        // Judged again when it commits: then this transaction is decided, or waited for.
        state.stages.get(stageId)?.suspect(segment, ordinal)
      },
    })
    if (verdict === undefined) continue
    if (verdict.kind === 'wait') return verdict
    const values = keyDatums(columns, schemaColumns(schema, key.attnums), verdict.row)
    return { kind: 'error', error: uniqueViolation(schema, key, values) }
  }
  return undefined
}

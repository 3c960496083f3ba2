/**
 * A unique key whose rows lie on several log channels is asserted on the others because the proxy asks there. One that has not
 * heard of a new key does not: what it inserts is refused, so that whoever verifies a new key once all nodes have it (verify-keys.ts
 * of the proxy) has seen every row that nobody asserted. Staged rows are asserted on their own channel only: proxies that know of
 * such a key stage none.
 */
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Table } from '#nodes/streaming/channel.js'
import type { CommitPlan } from '#nodes/streaming/commit-plan.js'
import { isWithinShard } from '#nodes/streaming/key-channels.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'

export function checkKnownKeys(state: StreamingState, plan: CommitPlan): DatabaseError | undefined {
  for (const { channel, inserts, keysElsewhere } of plan.writes) {
    if (inserts.length === 0) continue
    const error = unlessKnown(tableOf(state, channel.tableId), keysElsewhere)
    if (error !== undefined) return error
  }
  for (const { stage } of plan.copies) {
    const error = unlessKnown(tableOf(state, stage.channel.tableId), [])
    if (error !== undefined) return error
  }
  return undefined
}

function unlessKnown(
  { schema, channels }: Table,
  known: readonly number[],
): DatabaseError | undefined {
  if (channels.length === schema.shardCount) return undefined
  const key = schema.keys.find(
    (candidate) => !isWithinShard(schema, candidate) && !known.includes(candidate.indexOid),
  )
  if (key === undefined) return undefined
  return new DatabaseError(
    SqlState.serializationFailure,
    `could not serialize access: unique index "${key.name}" has come to relation "${schema.name}" meanwhile`,
    {
      hint: 'Try the transaction again.',
      schema: schema.schemaName,
      table: schema.name,
      constraint: key.name,
    },
  )
}

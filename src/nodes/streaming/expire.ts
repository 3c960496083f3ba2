/**
 * TTL. A read at T sees no row whose time lies further back from T than the table lets rows live. Such rows are deleted in the
 * background by ordinary commits of bounded size; until then they hold their keys and their place.
 */
import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { type Timestamp, timestampToUnixMs } from '#base/timestamp.js'
import type { TimeToLive } from '#engine/columnar/schema.js'
import type { FilterNode } from '#engine/plan/filter.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { commit } from '#nodes/streaming/commit.js'
import { scan } from '#nodes/streaming/scan.js'
import { allChannels, type StreamingState } from '#nodes/streaming/state.js'

/** A commit of more would hold up others. */
const rowsPerCommitMax = 5000
/** PostgreSQL counts from 2000-01-01. */
const epochMs2000 = 946_684_800_000

/** The fragment, without expired rows. */
export function withoutExpired<
  Fragment extends {
    readonly tableId: number
    readonly readAt: Timestamp
    readonly filter?: FilterNode | undefined
  },
>(state: StreamingState, fragment: Fragment): Fragment {
  const timeToLive = state.tables.get(fragment.tableId)?.schema.timeToLive
  if (timeToLive === undefined) return fragment
  const { attnum } = timeToLive
  const isLive: FilterNode = {
    op: 'or',
    args: [{ op: 'isNull', attnum }, compare(timeToLive, '>', fragment.readAt)],
  }
  const { filter } = fragment
  return {
    ...fragment,
    filter: filter === undefined ? isLive : { op: 'and', args: [filter, isLive] },
  }
}

function compare(
  { attnum, milliseconds }: TimeToLive,
  comparison: '>' | '<=',
  at: Timestamp,
): FilterNode {
  const value = BigInt(Math.floor(timestampToUnixMs(at) - milliseconds - epochMs2000)) * 1000n
  return { op: 'compare', attnum, comparison, as: 'native', value }
}

/** Deletes what has expired. @returns how many rows went */
export async function expire(state: StreamingState, context: Context): Promise<number> {
  let count = 0
  for (const channel of allChannels(state)) {
    for (;;) {
      const deleted = await expireSome(state, channel, context)
      count += deleted
      if (deleted < rowsPerCommitMax || context.signal.aborted) break
    }
  }
  return count
}

async function expireSome(
  state: StreamingState,
  { tableId, shard, dropped }: Channel,
  context: Context,
): Promise<number> {
  const timeToLive = state.tables.get(tableId)?.schema.timeToLive
  if (timeToLive === undefined || dropped) return 0
  // Now, also where nothing is written: what was applied last may be older than what has expired since.
  const readAt = await state.coordinator.timestamp()
  const filter = compare(timeToLive, '<=', readAt)
  const fragment = { tableId, shard, readAt, filter, output: [], limit: rowsPerCommitMax }
  const found: number[] = []
  for await (const { rowIds } of scan(state, fragment, context)) found.push(...rowIds)
  if (found.length === 0) return 0
  const deletes = Float64Array.from(found).sort()
  const write = { tableId, shard, truncate: false, deletes, inserts: [] }
  try {
    await commit(state, { writes: [write], staged: [], references: [], readAt }, context)
  } catch (error) {
    // Somebody was at one of the rows: they are looked at anew the next time.
    if (error instanceof DatabaseError && error.sqlState === SqlState.serializationFailure) return 0
    throw error
  }
  return deletes.length
}

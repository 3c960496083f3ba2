import type { Context } from '#base/context.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { findTaken, prepareInserts, type Removed } from '#nodes/streaming/check-inserts.js'
import { waitSettled } from '#nodes/streaming/commit-queue.js'
import type { ChannelWrite, KeyConflict } from '#nodes/streaming/contract.js'
import { channelOf, checkUsable, type StreamingState, tableOf } from '#nodes/streaming/state.js'

const none: ReadonlySet<number> = new Set()

/** The first row of the write whose key is taken now; waits for commits under way, not for open COPYs. */
export async function findConflict(
  state: StreamingState,
  write: ChannelWrite,
  context: Context,
): Promise<KeyConflict | undefined> {
  const channel = channelOf(state, write.tableId, write.shard)
  // Row ids are unique in the table: its deletes may name rows of any shard.
  const removedFrom = (other: Channel): Removed => ({
    deletes: write.deletes,
    truncate: write.truncate && other === channel,
  })
  for (;;) {
    checkUsable(state)
    const check = prepareInserts(tableOf(state, write.tableId), channel, write.inserts)
    await check.lookUp(state, context)
    const found = findTaken(state, check, { removedFrom, ownStages: none }, undefined)
    if (found === undefined) return undefined
    if (found.kind === 'wait') await waitSettled(found.on, context.signal)
    if (found.kind !== 'taken') continue
    const { key, row, rowId, values } = found
    return { tableId: write.tableId, indexOid: key.indexOid, row, key: values, rowId }
  }
}

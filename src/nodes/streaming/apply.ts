/** Makes a durable commit visible, live and in replay: truncate, delete, then make rows visible. Plain, in one step. */
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import type { Channel } from '#nodes/streaming/channel.js'
import type { Held } from '#nodes/streaming/prepared.js'
import type { Stage } from '#nodes/streaming/stage.js'
import type { StreamingState } from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/** @param position log position of the commit's first record */
export function applyTruncate(channel: Channel, at: Timestamp, position: number): void {
  for (const segment of channel.view.growing) segment.truncate(at)
  let changed = false
  for (const entry of channel.view.sealed) {
    // In replay: segments sealed after the truncation have it in their deletes.
    if (entry.until !== timestampMax || entry.manifest.maxTimestamp >= at) continue
    entry.until = at
    entry.untilPosition = position
    changed = true
  }
  if (changed) channel.sealedGeneration += 1
}

/**
 * @param rowIds ascending; those that are not here any more are passed over: in replay also rows that a sealed segment has left out,
 * although they lie in its range (SEG-10)
 */
export function applyDeletes(
  state: StreamingState,
  channel: Channel,
  rowIds: Float64Array,
  at: Timestamp,
  position: number,
): void {
  const sealed = new Map<SealedEntry, number[]>()
  for (const rowId of rowIds) {
    const location = channel.locate(rowId)
    if (location === undefined) continue
    if (location.kind === 'growing') {
      location.segment.deleteRow(location.ordinal, at)
      continue
    }
    const { entry } = location
    if (entry.until !== timestampMax || at <= (entry.manifest.deletesUntil ?? 0)) continue
    if (!entry.deletes.add(rowId, at, position)) continue
    const rows = sealed.get(entry)
    if (rows === undefined) sealed.set(entry, [rowId])
    else rows.push(rowId)
  }
  for (const [entry, rows] of sealed) {
    state.queryNode.applyDeletes(entry.segmentId, Float64Array.from(rows), at)
  }
}

/** @param position log position of the record that names rows and deletes */
export function applyHeld(
  state: StreamingState,
  { writes, stages }: Pick<Held, 'writes' | 'stages'>,
  at: Timestamp,
  position: number,
): void {
  for (const { channel, deletes, truncate } of writes) {
    if (channel.dropped) continue
    if (truncate) applyTruncate(channel, at, position)
    if (deletes.length > 0) applyDeletes(state, channel, deletes, at, position)
  }
  for (const stage of stages) {
    if (!stage.channel.dropped) applyStage(stage, at)
    state.stages.delete(stage.stageId)
  }
}

/** @returns rows that became visible */
export function applyStage(stage: Stage, at: Timestamp): number {
  let count = 0
  for (const segment of stage.segments) count += segment.commitStage(stage.stageId, at)
  return count
}

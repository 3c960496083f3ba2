/**
 * Moves the beginning of the log: what is below is in sealed segments and deletes objects, or of no use.
 *
 * 1. If the log is too long: seal what holds its older half, write down deletes that do.
 * 2. Strike segments that were truncated longer ago than the retention.
 * 3. Find the smallest position still needed; keep DDL and decisions from below elsewhere; record the position; truncate.
 *
 * Crash between recording and truncating: the log is longer than needed, nothing else.
 */
import { backgroundContext } from '#base/context.js'
import type { Timestamp } from '#base/timestamp.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { logCheckpoint, rowIdCheckpoint } from '#nodes/streaming/checkpoint-names.js'
import { releaseSegments } from '#nodes/streaming/collect.js'
import { saveDdl } from '#nodes/streaming/ddl-settings.js'
import { decisionsPosition, saveDecisions, untoldBelow } from '#nodes/streaming/decisions.js'
import { flushClosed } from '#nodes/streaming/flush.js'
import { closeLargest, isShort } from '#nodes/streaming/growing-memory.js'
import { isTruncated, isUnreadable, neededPosition } from '#nodes/streaming/needed-position.js'
import { readableSince } from '#nodes/streaming/readable-since.js'
import { reasonToSeal } from '#nodes/streaming/seal-policy.js'
import { allChannels, horizonOf, type StreamingState } from '#nodes/streaming/state.js'
import { saveDeletes } from '#nodes/streaming/switch-manifest.js'
import type { SealedEntry } from '#nodes/streaming/view.js'
import type { Wal } from '#storage/wal/wal.js'

/** Position below which the log should be given up; 0 while it is short. */
export function logHeldTo(state: StreamingState): number {
  if (state.log.bytesHeld <= state.limits.logBytesMax) return 0
  return state.log.positionWithin(state.limits.logBytesMax / 2)
}

/** Seals by policy. */
export async function sealDue(state: StreamingState): Promise<void> {
  const held = logHeldTo(state)
  if (isShort(state)) closeLargest(state)
  const nowMs = state.runtime.monotonicMs()
  for (const channel of allChannels(state)) {
    for (const segment of channel.view.growing) {
      if (reasonToSeal(segment, state.limits, nowMs, held) !== undefined) segment.closed = true
    }
    if (channel.view.growing.some(({ closed }) => closed)) {
      await flushClosed(state, channel, backgroundContext)
    }
    for (const entry of channel.view.sealed) {
      if (entry.deletes.unsavedSince < held) await saveDeletes(state, channel, entry)
    }
  }
}

/** CHECKPOINT also writes all deletes down. */
export async function saveAllDeletes(state: StreamingState, channel: Channel): Promise<void> {
  for (const entry of channel.view.sealed) await saveDeletes(state, channel, entry)
}

/** @param scope 'now': also what was truncated within the retention */
export async function strikeTruncated(
  state: StreamingState,
  channel: Channel,
  scope?: 'now',
): Promise<readonly SealedEntry[]> {
  if (!channel.view.sealed.some(isTruncated)) return []
  return await state.switching.run(async () => {
    const horizon = horizonOf(state)
    const gone = channel.view.sealed.filter((entry) =>
      scope === 'now' ? isTruncated(entry) : isUnreadable(entry, horizon),
    )
    if (gone.length === 0 || channel.dropped) return []
    const remove = gone.map(({ segmentId }) => segmentId)
    const from = Math.max(...gone.map(({ until }) => until)) as Timestamp
    const checkpoints = readableSince(channel, from)
    await state.coordinator.switchSegments({ add: [], remove, checkpoints })
    const { growing, sealed } = channel.view
    channel.switchView(
      growing,
      sealed.filter((entry) => !gone.includes(entry)),
      releaseSegments(
        state,
        gone.map(({ manifest }) => manifest),
      ),
    )
    return gone
  })
}

/** @returns the position that the log begins at now */
export async function truncateLog(
  state: StreamingState,
  wal: Wal,
  logChannel: string,
): Promise<number> {
  const channels = allChannels(state)
  for (const channel of channels) await strikeTruncated(state, channel)
  return await state.switching.run(async () => {
    let needed = state.log.settledBound
    for (const channel of channels) needed = Math.min(needed, neededPosition(channel))
    for (const { position } of state.transactions.prepared.values()) {
      needed = Math.min(needed, position)
    }
    const nowMs = state.runtime.monotonicMs()
    needed = Math.min(needed, decisionsPosition(state.decisions, nowMs))
    if (needed <= state.logStart) return state.logStart
    const untold = untoldBelow(state.decisions, needed)
    await saveDdl(state, needed)
    await saveDecisions(untold, state.coordinator)
    const checkpoints = new Map([[logCheckpoint(logChannel), needed]])
    for (const channel of channels) {
      if (channel.dropped || channel.nextRowId === channel.savedRowId) continue
      checkpoints.set(rowIdCheckpoint(channel.name), channel.nextRowId)
      channel.savedRowId = channel.nextRowId
    }
    await state.coordinator.switchSegments({ add: [], remove: [], checkpoints })
    await state.coordinator.secure()
    await wal.truncate(logChannel, needed)
    state.log.noteTruncated(needed)
    state.logStart = needed
    return needed
  })
}

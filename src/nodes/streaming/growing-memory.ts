/** What growing segments of this node take, and what is done when all of them take too much (write-memory.ts). */
import type { Context } from '#base/context.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import { allChannels, type StreamingState } from '#nodes/streaming/state.js'
import type { MemoryHolder } from '#nodes/streaming/write-memory.js'

/** Buffers grow by doubling, but only what was written is resident: that, and what they were copied from. */
const valueFactor = 1.25
/** Two timestamps, a row id, a unique key's hash index at 5/8 full, of two keys every other table. */
const bytesPerRow = 24 + 24

export function rowsMemory(valueBytes: number, rowCount: number): number {
  return valueBytes * valueFactor + rowCount * bytesPerRow
}

export function growingMemory(
  segment: Pick<GrowingSegment, 'byteLength' | 'rowCount' | 'interim'>,
): number {
  return rowsMemory(segment.byteLength, segment.rowCount) + segment.interim.memoryBytes
}

/** undefined: the rows may be entered. @throws as WriteMemory.admit */
export function admitRows(
  state: StreamingState,
  encoded: readonly Uint8Array[],
  context: Context,
): Promise<void> | undefined {
  let bytes = 0
  for (const batch of encoded) bytes += rowsMemory(batch.byteLength, 0)
  return bytes === 0 ? undefined : state.memory.admit(bytes, context)
}

export function memoryHolder(state: StreamingState): MemoryHolder {
  return {
    measure: () => sum(growing(state)),
    flushable: () =>
      sum(growing(state).filter((segment) => segment.rowCount > 0 && !isHeld(state, segment))),
    hurry: () => state.hurry.now(),
  }
}

function growing(state: StreamingState): GrowingSegment[] {
  return allChannels(state).flatMap(({ view }) => view.growing)
}

function sum(segments: readonly GrowingSegment[]): number {
  return segments.reduce((bytes, segment) => bytes + growingMemory(segment), 0)
}

/** Rows of an open COPY, or of an undecided transaction, are in it. Those of a commit under way are soon done. */
function isHeld(state: StreamingState, segment: GrowingSegment): boolean {
  if (!segment.hasPending) return false
  for (const stage of state.stages.values()) {
    if (stage.committing?.kind !== 'commit' && stage.segments.has(segment)) return true
  }
  return false
}

export function isShort({ memory }: StreamingState): boolean {
  return memory.usedBytes > memory.softBytes && memory.measure() > memory.softBytes
}

/** So much that, when they are flushed, half of what is free of pressure is in use. Those of open COPYs cannot be. */
export function closeLargest(state: StreamingState): void {
  const segments = growing(state).filter((segment) => !isHeld(state, segment))
  const open = segments
    .filter(({ closed, rowCount }) => !closed && rowCount > 0)
    .sort((a, b) => growingMemory(b) - growingMemory(a))
  const { memory } = state
  let excess =
    memory.usedBytes - memory.softBytes / 2 - sum(segments.filter(({ closed }) => closed))
  for (const segment of open) {
    if (excess <= 0) return
    segment.closed = true
    excess -= growingMemory(segment)
  }
}

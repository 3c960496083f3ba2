/**
 * Seals a growing segment: its rows go to object storage, the view hands over.
 *
 * 1. Take its committed rows and their deletes as they are now, and log position and timestamp up to which that is everything.
 * 2. The data node writes objects and manifest. Meanwhile the growing segment is read, and still takes deletes. The graphs that
 *    it has over its rows become the indexes of the sealed one, so searches never fall back to scanning; where they cannot
 *    (rows fall away, so others' places change) the indexes are built now, before the hand-over.
 * 3. The coordinator records the manifest and the channel's checkpoint in one step: from here on the segment exists.
 * 4. The query node loads it.
 * 5. In one step: deletes that came since 1 are passed on, the view switches (SEG-2). The growing segment goes when its last
 *    reader has left.
 *
 * Crash: before 3 nothing happened, objects without a record are garbage; after 3 replay skips the rows that the segment
 * covers and applies the deletes that came since 1 again, none of before (SEG-10). Retry: same segment id, the later record stands.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { invariant } from '#base/errors.js'
import { type Timestamp, timestampMax } from '#base/timestamp.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import { sealRows } from '#engine/segment/growing-seal.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { SealedRows } from '#engine/segment/sealed-rows.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { channelCheckpoint, rowIdCheckpoint } from '#nodes/streaming/checkpoint-names.js'
import { forgetSegment } from '#nodes/streaming/collect.js'
import { neededPosition, unappliedSince } from '#nodes/streaming/needed-position.js'
import { readableSince } from '#nodes/streaming/readable-since.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import {
  checkUsable,
  removableUntil,
  type StreamingState,
  tableOf,
} from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/** Closes what grows in the channel, so that it can be flushed. */
export function closeGrowing(channel: Channel): void {
  const open = channel.openGrowing()
  if (open !== undefined) open.closed = true
}

/**
 * Flushes the channel's closed segments; those with rows of an open COPY stay until it ends. Commits under way are waited
 * for.
 */
export async function flushClosed(
  state: StreamingState,
  channel: Channel,
  context: Context,
): Promise<void> {
  await state.flushing.run(async () => {
    for (const segment of channel.view.growing.filter(({ closed }) => closed)) {
      checkCancelled(context)
      checkUsable(state)
      await commitsIn(state, segment)
      if (segment.hasPending || channel.dropped) continue
      if (channel.view.growing.includes(segment))
        await flushSegment(state, channel, segment, context)
    }
  })
}

async function commitsIn(state: StreamingState, segment: GrowingSegment): Promise<void> {
  for (const stage of state.stages.values()) {
    // Not for prepared ones, others decide about them: the segment stays until they have.
    if (stage.committing?.kind === 'commit' && stage.segments.has(segment)) {
      await stage.committing.settled
    }
  }
}

async function flushSegment(
  state: StreamingState,
  channel: Channel,
  segment: GrowingSegment,
  context: Context,
): Promise<void> {
  const since = unappliedSince(state, channel)
  const deletesUntil = state.commits.appliedTime
  const { rows, readableFrom } = sealRows(segment, removableUntil(state, deletesUntil))
  const deletedCount = segment.deletedCount
  if (rows.rowIds.length === 0) {
    await state.switching.run(async () => {
      if (channel.dropped) return
      const checkpoints = readableSince(channel, readableFrom)
      // An attempt before, when it had rows, may have been recorded without our hearing of it.
      const remove = [segment.segmentId]
      await state.coordinator.switchSegments({ add: [], remove, checkpoints })
      dropGrowing(channel, segment)
    })
    return
  }
  const manifest = {
    ...(await writeSegment(state, channel, segment, rows, context)),
    deletesUntil,
  }
  await state.switching.run(async () => {
    if (channel.dropped) return
    const checkpoint = Math.max(
      channel.checkpoint,
      Math.min(neededPosition(channel, segment), since),
    )
    await state.coordinator.switchSegments({
      add: [manifest],
      remove: [],
      checkpoints: new Map([
        ...readableSince(channel, readableFrom),
        [channelCheckpoint(channel.name), checkpoint],
        [rowIdCheckpoint(channel.name), channel.nextRowId],
      ]),
    })
    await state.queryNode.load(manifest, segment.schema)
    if (channel.dropped) {
      await forgetSegment(state, manifest)
      return
    }
    const entry = createEntry(manifest, rows)
    if (segment.deletedCount !== deletedCount) passDeletes(state, segment, rows, entry, since)
    handOver(channel, segment, entry)
    channel.checkpoint = checkpoint
  })
}

async function writeSegment(
  state: StreamingState,
  channel: Channel,
  segment: GrowingSegment,
  rows: SealedRows,
  context: Context,
): Promise<SegmentManifest> {
  const { segmentId, schema, interim } = segment
  const isWhole = rows.rowIds.length === segment.rowCount
  const graphs = isWhole && !interim.isEmpty ? await interim.finish(segment) : []
  try {
    let manifest = await state.dataNode.flush(segmentId, schema, rows, context, graphs)
    if (isWhole || interim.isEmpty) return manifest
    for (const index of tableOf(state, channel.tableId).schema.vectorIndexes) {
      if (interim.covered(index.indexOid) * 2 < segment.rowCount) continue
      manifest = await state.dataNode.buildIndex(manifest, schema, index, () => {}, context)
    }
    return manifest
  } finally {
    for (const { index } of graphs) index.close()
  }
}

function createEntry(manifest: SegmentManifest, rows: SealedRows): SealedEntry {
  invariant('SEG-3', manifest.rowCount === rows.rowIds.length, 'rows were lost on the way')
  const deletes = new SealedDeletes()
  const deleted: number[] = []
  rows.deleted.forEach((at, i) => {
    if (at !== timestampMax) deleted.push(i)
  })
  deletes.addSaved(
    Float64Array.from(deleted, (i) => rows.rowIds[i] ?? 0),
    Float64Array.from(deleted, (i) => rows.deleted[i] ?? 0),
  )
  return {
    segmentId: manifest.segmentId,
    manifest,
    deletes,
    until: timestampMax,
    untilPosition: Number.POSITIVE_INFINITY,
  }
}

/** Deletes that the growing segment took since its rows were taken. */
function passDeletes(
  state: StreamingState,
  segment: GrowingSegment,
  rows: SealedRows,
  entry: SealedEntry,
  since: number,
): void {
  const byTime = new Map<number, number[]>()
  rows.rowIds.forEach((rowId, i) => {
    const at = segment.deletedAt(segment.locate(rowId))
    if (at === rows.deleted[i]) return
    entry.deletes.add(rowId, at as Timestamp, since)
    const together = byTime.get(at)
    if (together === undefined) byTime.set(at, [rowId])
    else together.push(rowId)
  })
  for (const [at, rowIds] of byTime) {
    state.queryNode.applyDeletes(entry.segmentId, Float64Array.from(rowIds), at as Timestamp)
  }
}

function handOver(channel: Channel, segment: GrowingSegment, entry: SealedEntry): void {
  const { growing, sealed } = channel.view
  const { minRowId, maxRowId } = entry.manifest
  const others = [
    ...growing.filter((other) => other !== segment).map(({ firstRowId }) => firstRowId),
    ...sealed.map(({ manifest }) => manifest.minRowId),
  ]
  invariant(
    'SEG-9',
    others.every((rowId) => !(rowId >= minRowId && rowId <= maxRowId)),
    'a sealed segment covers row ids of another segment',
  )
  channel.switchView(
    growing.filter((other) => other !== segment),
    [...sealed, entry].sort((a, b) => a.manifest.minRowId - b.manifest.minRowId),
    () => segment.close(),
  )
}

/** Nothing in it is or will be visible to anyone. */
function dropGrowing(channel: Channel, segment: GrowingSegment): void {
  const { growing, sealed } = channel.view
  channel.switchView(
    growing.filter((other) => other !== segment),
    sealed,
    () => segment.close(),
  )
}

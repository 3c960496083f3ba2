/**
 * Merges flushed segments of a channel into one, without rows deleted so long ago that no read sees them.
 *
 * 1. Write their deletes down, so that the inputs' objects say everything up to a log position and a timestamp.
 * 2. The data node merges, and builds the indexes that the table has: searches never fall back to scanning.
 * 3. The query node loads it; the coordinator records it instead of the inputs.
 * 4. In one step: deletes that came since 1 are passed on, the view switches (SEG-2); inputs are released when unread.
 *
 * Failure: nothing that may fail lies between recording and switching, so that what is recorded is what the view has. Otherwise
 * the inputs would be merged again, beside the segment on record.
 * Crash: before the record nothing happened; after it replay applies the deletes since 1 again, the inputs' positions held the log;
 * of before 1 none, also of rows that were left out (SEG-10).
 */
import type { Context } from '#base/context.js'
import { type Timestamp, timestampMax, timestampZero } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { saveAllDeletes, strikeTruncated } from '#nodes/streaming/checkpoint.js'
import { collectReleased, forgetSegment, releaseSegments } from '#nodes/streaming/collect.js'
import { groupsToCompact } from '#nodes/streaming/compaction-policy.js'
import type { CompactionReport, CompactionScope } from '#nodes/streaming/contract.js'
import { closeGrowing, flushClosed } from '#nodes/streaming/flush.js'
import { isTruncated, unappliedSince } from '#nodes/streaming/needed-position.js'
import { readableSince } from '#nodes/streaming/readable-since.js'
import { recordSegments } from '#nodes/streaming/record-segments.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import { removableUntil, type StreamingState, tableOf } from '#nodes/streaming/state.js'
import { saveDeletes } from '#nodes/streaming/switch-manifest.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

const passesMax = 3

/** VACUUM, VACUUM FULL. */
export async function compact(
  state: StreamingState,
  tableId: number,
  context: Context,
  scope: CompactionScope = 'all',
): Promise<CompactionReport> {
  let report = nothingDone
  for (const channel of tableOf(state, tableId).channels) {
    closeGrowing(channel)
    await flushClosed(state, channel, context)
    if (scope === 'now') {
      report = add(report, reportOf(await strikeTruncated(state, channel, 'now'), undefined))
    }
    await state.building.run(async () => {
      const { schema } = tableOf(state, tableId)
      const mode = scope === 'worthwhile' ? scope : 'all'
      const horizon = scope === 'now' ? state.commits.appliedTime : removableUntil(state)
      // What is merged for its number may have deleted rows beside it: looked at again.
      for (let pass = 0; pass < (mode === 'all' ? 1 : passesMax); pass += 1) {
        const groups = groupsToCompact(channel.view, schema, state.limits, mode, horizon)
        if (groups.length === 0) break
        for (const group of groups) {
          report = add(report, await compactGroup(state, channel, group, context, scope))
        }
      }
    })
    await saveAllDeletes(state, channel)
  }
  await collectReleased(state, context)
  return report
}

const nothingDone: CompactionReport = {
  removedRows: 0,
  mergedSegments: 0,
  writtenSegments: 0,
  freedBytes: 0,
}

function add(a: CompactionReport, b: CompactionReport): CompactionReport {
  return {
    removedRows: a.removedRows + b.removedRows,
    mergedSegments: a.mergedSegments + b.mergedSegments,
    writtenSegments: a.writtenSegments + b.writtenSegments,
    freedBytes: a.freedBytes + b.freedBytes,
  }
}

function reportOf(
  inputs: readonly SealedEntry[],
  manifest: SegmentManifest | undefined,
): CompactionReport {
  const before = inputs.reduce((sum, entry) => sum + entry.manifest.rowCount, 0)
  const bytes = inputs.reduce((sum, entry) => sum + storedBytes(entry.manifest), 0)
  return {
    removedRows: before - (manifest?.rowCount ?? 0),
    mergedSegments: inputs.length,
    writtenSegments: manifest === undefined ? 0 : 1,
    freedBytes: bytes - (manifest === undefined ? 0 : storedBytes(manifest)),
  }
}

function storedBytes({ data, deletes, indexes }: SegmentManifest): number {
  return (
    data.bytes + (deletes?.bytes ?? 0) + indexes.reduce((sum, { object }) => sum + object.bytes, 0)
  )
}

/**
 * Inside state.building.
 * @param inputs neighbours by row id, with no growing segment between
 * @param scope 'now': also rows deleted within the retention go
 */
export async function compactGroup(
  state: StreamingState,
  channel: Channel,
  inputs: readonly SealedEntry[],
  context: Context,
  scope?: CompactionScope,
): Promise<CompactionReport> {
  const { schema } = tableOf(state, channel.tableId)
  const since = unappliedSince(state, channel)
  const deletesUntil = state.commits.appliedTime
  for (const entry of inputs) await saveDeletes(state, channel, entry, context)
  const horizon = scope === 'now' ? deletesUntil : removableUntil(state, deletesUntil)
  const dropped = inputs.map((entry) => droppedRows(entry, horizon))
  const allDropped = inputs.every((entry, i) => isWhollyIn(entry.manifest, dropped[i]))
  const merged = allDropped
    ? undefined
    : await merge(state, schema, inputs, dropped, deletesUntil, context)
  const isReplaced = await state.switching.run(() =>
    replace(state, channel, inputs, dropped, merged, schema, since),
  )
  return isReplaced ? reportOf(inputs, merged?.manifest) : nothingDone
}

interface Merged {
  readonly manifest: SegmentManifest
  /** Of each input: how many deletes its object had when it was read; undefined: not all that there were. */
  readonly savedCounts: readonly (number | undefined)[]
}

/** Reads from here on miss nothing that was dropped. */
function newestDelete(inputs: readonly SealedEntry[], dropped: readonly Float64Array[]): Timestamp {
  let newest = timestampZero
  inputs.forEach(({ deletes }, i) => {
    for (const rowId of dropped[i] ?? []) {
      const at = deletes.deletedAt(rowId)
      if (at > newest) newest = at
    }
  })
  return newest
}

function droppedRows(entry: SealedEntry, horizon: Timestamp): Float64Array {
  const rowIds: number[] = []
  for (const [rowId, at] of entry.deletes.entries()) if (at <= horizon) rowIds.push(rowId)
  return Float64Array.from(rowIds).sort()
}

/**
 * Whether these deletes are of all rows of a segment. Their number says so only where no row id is missing in its range: deletes of
 * rows that are not in it may be among those of segments whose manifests have no deletesUntil.
 */
function isWhollyIn(
  { rowCount, minRowId, maxRowId }: SegmentManifest,
  dropped: Float64Array = new Float64Array(0),
): boolean {
  return maxRowId - minRowId + 1 === rowCount && dropped.length === rowCount
}

/** @returns undefined when no row is left */
async function merge(
  state: StreamingState,
  schema: TableSchema,
  inputs: readonly SealedEntry[],
  dropped: readonly Float64Array[],
  deletesUntil: Timestamp,
  context: Context,
): Promise<Merged | undefined> {
  await state.segmentIds.ensure(1)
  // In the same step as the manifests are taken: deletes go on meanwhile, and are written down for the inputs, which go.
  const savedCounts = inputs.map(({ deletes }) =>
    deletes.unsavedSince === Number.POSITIVE_INFINITY ? deletes.count : undefined,
  )
  const parts = inputs.map((entry, i) => ({
    manifest: entry.manifest,
    deletedRowIds: dropped[i] ?? new Float64Array(0),
  }))
  let manifest = await state.dataNode.compact(state.segmentIds.take(), schema, parts, context)
  if (manifest.rowCount === 0) return undefined
  manifest = { ...manifest, deletesUntil }
  for (const index of schema.vectorIndexes) {
    manifest = await state.dataNode.buildIndex(manifest, schema, index, () => {}, context)
  }
  return { manifest, savedCounts }
}

async function replace(
  state: StreamingState,
  channel: Channel,
  inputs: readonly SealedEntry[],
  dropped: readonly Float64Array[],
  merged: Merged | undefined,
  schema: TableSchema,
  since: number,
): Promise<boolean> {
  const manifest = merged?.manifest
  if (!isReplaceable(channel, inputs)) return false
  if (manifest !== undefined) await state.queryNode.load(manifest, schema)
  let isRecorded = false
  try {
    if (!isReplaceable(channel, inputs)) return false
    const change = {
      add: manifest === undefined ? [] : [manifest],
      remove: inputs.map(({ segmentId }) => segmentId),
      checkpoints: readableSince(channel, newestDelete(inputs, dropped)),
    }
    await recordSegments(state, change)
    isRecorded = true
  } finally {
    if (!isRecorded && manifest !== undefined) {
      state.queryNode.release(manifest.segmentId).catch(() => {})
    }
  }
  if (channel.dropped) {
    if (manifest !== undefined) await forgetSegment(state, manifest)
    return false
  }
  const entry = merged && entryOf(state, merged, inputs, dropped, since)
  const { growing, sealed } = channel.view
  const others = sealed.filter((candidate) => !inputs.includes(candidate))
  const next = entry === undefined ? others : [...others, entry]
  next.sort((a, b) => a.manifest.minRowId - b.manifest.minRowId)
  const gone = inputs.map((input) => input.manifest)
  channel.switchView(growing, next, releaseSegments(state, gone))
  return true
}

/** Truncated or dropped meanwhile: what was merged is garbage. */
function isReplaceable(channel: Channel, inputs: readonly SealedEntry[]): boolean {
  const present = inputs.every((input) => channel.view.sealed.includes(input))
  return present && !channel.dropped && !inputs.some(isTruncated)
}

/** All deletes of the inputs but of dropped rows. Which of them the object holds is not told apart, unless it holds all. */
function entryOf(
  state: StreamingState,
  { manifest, savedCounts }: Merged,
  inputs: readonly SealedEntry[],
  dropped: readonly Float64Array[],
  since: number,
): SealedEntry {
  const deletes = new SealedDeletes()
  const byTime = new Map<Timestamp, number[]>()
  let until = timestampMax
  let untilPosition = Number.POSITIVE_INFINITY
  inputs.forEach((input, i) => {
    // A truncation while the coordinator or the query node was waited for.
    until = Math.min(until, input.until) as Timestamp
    untilPosition = Math.min(untilPosition, input.untilPosition)
    const gone = new Set(dropped[i])
    for (const [rowId, at] of input.deletes.entries()) {
      if (gone.has(rowId)) continue
      deletes.add(rowId, at, since)
      const together = byTime.get(at)
      if (together === undefined) byTime.set(at, [rowId])
      else together.push(rowId)
    }
  })
  // That an input has all of its deletes written down by now does not say that what was merged had them.
  if (inputs.every((input, i) => input.deletes.hasOnly(savedCounts[i]))) {
    deletes.unsavedSince = Number.POSITIVE_INFINITY
  }
  for (const [at, rowIds] of byTime) {
    state.queryNode.applyDeletes(manifest.segmentId, Float64Array.from(rowIds).sort(), at)
  }
  return { segmentId: manifest.segmentId, manifest, deletes, until, untilPosition }
}

/**
 * Brings a streaming node up from what is stored: tables, flushed segments and their deletes from the coordinator's
 * records, the rest from the log. Its segments of tables that are gone are struck from the records (a drop was cut short).
 */
import { backgroundContext } from '#base/context.js'
import { invariant } from '#base/errors.js'
import { type Timestamp, timestampMax, timestampZero } from '#base/timestamp.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Channel, Table } from '#nodes/streaming/channel.js'
import {
  channelCheckpoint,
  logCheckpoint,
  readableCheckpoint,
  rowIdCheckpoint,
} from '#nodes/streaming/checkpoint-names.js'
import { logChannelOf } from '#nodes/streaming/contract.js'
import { loadDecisions } from '#nodes/streaming/decisions.js'
import { Replay } from '#nodes/streaming/replay.js'
import { SealedDeletes } from '#nodes/streaming/sealed-deletes.js'
import {
  allChannels,
  channelOfShard,
  createTable,
  type StreamingState,
} from '#nodes/streaming/state.js'
import { loadTables } from '#nodes/streaming/table-settings.js'
import type { SealedEntry } from '#nodes/streaming/view.js'
import type { Wal } from '#storage/wal/wal.js'

/** The log's writer is open already: nobody else appends any more. */
export async function recover(state: StreamingState, wal: Wal, logChannel: string): Promise<void> {
  for (const schema of await loadTables(state.coordinator)) {
    state.tables.set(schema.tableId, createTable(state, schema))
  }
  const checkpoints = await state.coordinator.checkpoints()
  for (const channel of allChannels(state)) {
    channel.checkpoint = checkpoints.get(channelCheckpoint(channel.name)) ?? 0
    channel.savedRowId = checkpoints.get(rowIdCheckpoint(channel.name)) ?? 0
    channel.nextRowId = Math.max(channel.nextRowId, channel.savedRowId)
    channel.readableFrom = (checkpoints.get(readableCheckpoint(channel.name)) ??
      timestampZero) as Timestamp
  }
  const newest = await recoverSegments(state)
  const nowMs = state.runtime.monotonicMs()
  for (const made of await loadDecisions(state.coordinator, logChannel, nowMs)) {
    state.decisions.made(made)
  }

  // A record's rows may lie around every sealed segment of its channel.
  const segmentsPerRecord =
    1 + Math.max(0, ...allChannels(state).map(({ view }) => view.sealed.length))
  const replay = new Replay(state)
  for await (const records of wal.read(
    logChannel,
    checkpoints.get(logCheckpoint(logChannel)) ?? 0,
  )) {
    for (const record of records) {
      if (!state.segmentIds.has(segmentsPerRecord)) await state.segmentIds.ensure(segmentsPerRecord)
      replay.read(record)
    }
  }
  replay.end()
  state.log.noteReplayed(replay.bytes)
  // Above everything that is stored, deletes in objects included (TS-1): all of it is readable from the start.
  const above = Math.max(state.ownership.startsAbove, newest) as Timestamp
  const now = await state.coordinator.timestamp(above)
  invariant('TS-1', now > newest && now > replay.maxTimestamp, 'timestamps fell')
  state.commits.startAt(now)
  // Who refers to rows is known from now on.
  if (state.tables.size > 0) state.references.forgetBefore(now)
}

/** @returns newest commit timestamp that a segment has or knows of */
async function recoverSegments(state: StreamingState): Promise<Timestamp> {
  const manifests = await state.coordinator.segments()
  await strikeUnknown(state, manifests)
  const entries = new Map<Channel, SealedEntry[]>()
  let newest: number = timestampZero
  for (const manifest of manifests) {
    const found = findChannel(state.tables, manifest)
    if (found === undefined) continue
    const { channel, table } = found
    const [deletes] = await Promise.all([
      recoverDeletes(state, manifest),
      // The first read that visits it brings it into memory: a start takes no longer for more data.
      state.queryNode.load(manifest, table.schema, 'when read'),
    ])
    const entry: SealedEntry = {
      segmentId: manifest.segmentId,
      manifest,
      deletes,
      until: timestampMax,
      untilPosition: Number.POSITIVE_INFINITY,
    }
    const others = entries.get(channel)
    if (others === undefined) entries.set(channel, [entry])
    else others.push(entry)
    channel.nextRowId = Math.max(channel.nextRowId, manifest.maxRowId + 1)
    newest = Math.max(newest, manifest.maxTimestamp, manifest.deletesUntil ?? timestampZero)
  }
  for (const [channel, sealed] of entries) {
    sealed.sort((a, b) => a.manifest.minRowId - b.manifest.minRowId)
    channel.switchView([], sealed)
  }
  return newest as Timestamp
}

/**
 * Segments of tables that are gone: a drop was cut short. Those on other log channels are their owners': who has not heard of the
 * drop yet may be recording a newer manifest, and what was struck would come back when its objects may already go (OBJ-1).
 */
async function strikeUnknown(
  state: StreamingState,
  manifests: readonly SegmentManifest[],
): Promise<void> {
  const { logChannel, logChannelCount, tables } = state
  const strangers = manifests.filter(
    ({ tableId, shard }) =>
      !tables.has(tableId) && logChannelOf(tableId, shard, logChannelCount) === logChannel,
  )
  if (strangers.length === 0) return
  // Tables that came since ours were read: asked after the manifests, all are known.
  const known = new Set((await loadTables(state.coordinator)).map(({ tableId }) => tableId))
  const remove = strangers
    .filter(({ tableId }) => !known.has(tableId))
    .map(({ segmentId }) => segmentId)
  if (remove.length === 0) return
  await state.coordinator.switchSegments({ add: [], remove, checkpoints: new Map() })
}

async function recoverDeletes(
  state: StreamingState,
  manifest: SegmentManifest,
): Promise<SealedDeletes> {
  const deletes = new SealedDeletes()
  if (manifest.deletes === undefined) return deletes
  const { rowIds, deleted } = await state.dataNode.readDeletes(manifest, backgroundContext)
  deletes.addSaved(rowIds, deleted)
  return deletes
}

function findChannel(
  tables: ReadonlyMap<number, Table>,
  { tableId, shard }: SegmentManifest,
): { readonly channel: Channel; readonly table: Table } | undefined {
  const table = tables.get(tableId)
  const channel = table === undefined ? undefined : channelOfShard(table, shard)
  return table === undefined || channel === undefined ? undefined : { channel, table }
}

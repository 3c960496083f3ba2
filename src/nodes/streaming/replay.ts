/**
 * Replay of a log channel into growing segments: what live commits did, from their records.
 *
 * 1. rows: those in no sealed segment go into the growing segment, pending.
 * 2. commit: truncate, delete, make the stages' rows visible.
 * 3. prepare, finish: see replay-prepared.ts.
 * 4. At the end what is still pending and not prepared is dead.
 */
import { DatabaseError, invariant, SqlState } from '#base/errors.js'
import { type Timestamp, timestampZero } from '#base/timestamp.js'
import { decodeBatch } from '#engine/columnar/batch-codec.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { widthOf } from '#engine/columnar/column-builder.js'
import type { ColumnSchema, TableSchema } from '#engine/columnar/schema.js'
import { applyDeletes, applyStage, applyTruncate } from '#nodes/streaming/apply.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { dropStage } from '#nodes/streaming/enter-rows.js'
import { type CommitRecord, decodeLogRecord, type RowsRecord } from '#nodes/streaming/log-record.js'
import { ReplayPrepared } from '#nodes/streaming/replay-prepared.js'
import { Stage } from '#nodes/streaming/stage.js'
import {
  allChannels,
  channelOfShard,
  growingFor,
  type StreamingState,
} from '#nodes/streaming/state.js'
import type { LogPosition, LogRecord } from '#storage/wal/wal.js'

export class Replay {
  readonly #state: StreamingState
  readonly #stages = new Map<number, Stage>()
  /** The next record is the batch of this one. */
  #rows: { readonly record: RowsRecord; readonly position: LogPosition } | undefined
  readonly #schemas = new WeakMap<TableSchema, Map<string, TableSchema>>()
  readonly #prepared: ReplayPrepared
  /** Of timestamps drawn here, in the order of the log. */
  #lastTimestamp: Timestamp = timestampZero
  maxTimestamp: Timestamp = timestampZero
  rowCount = 0
  bytes = 0

  constructor(state: StreamingState) {
    this.#state = state
    this.#prepared = new ReplayPrepared(state)
  }

  /** Records in log order. The caller has made sure of a segment id (segment-ids.ts). @throws XX001 */
  read({ position, payload }: LogRecord): void {
    this.bytes += payload.byteLength
    if (this.#rows !== undefined) {
      const { record, position: from } = this.#rows
      this.#rows = undefined
      this.#enter(record, from, payload)
      return
    }
    const record = decodeLogRecord(payload)
    switch (record.kind) {
      case 'rows':
        this.#rows = { record, position }
        return
      case 'commit':
        this.#commit(record, position)
        return
      case 'abort':
        this.#abort(record.stageId)
        return
      case 'prepare':
        this.#noteDrawn(record.preparedAt)
        this.#prepared.prepare(record, position, this.#takeStages(record.stageIds))
        return
      case 'finish':
        this.#prepared.finish(record)
        if (record.committedAt !== undefined) this.#noteTime(record.committedAt)
        return
    }
  }

  #noteDrawn(at: Timestamp): void {
    invariant('TS-2', at > this.#lastTimestamp, () => `${at} after ${this.#lastTimestamp}`)
    this.#lastTimestamp = at
    this.#noteTime(at)
  }

  #noteTime(at: Timestamp): void {
    if (at > this.maxTimestamp) this.maxTimestamp = at
  }

  #takeStages(stageIds: readonly number[]): readonly Stage[] {
    return stageIds.flatMap((stageId) => {
      const stage = this.#stages.get(stageId)
      this.#stages.delete(stageId)
      return stage === undefined ? [] : [stage]
    })
  }

  end(): void {
    if (this.#rows !== undefined) throw corrupted('rows without their batch')
    for (const stage of this.#stages.values()) dropStage(this.#state, stage)
    this.#stages.clear()
    this.#prepared.end()
    // What comes from now on, too.
    for (const channel of allChannels(this.#state)) closeBefore(channel, channel.nextRowId)
  }

  #channel(tableId: number, shard: number): Channel | undefined {
    const table = this.#state.tables.get(tableId)
    return table === undefined ? undefined : channelOfShard(table, shard)
  }

  #enter(record: RowsRecord, position: LogPosition, payload: Uint8Array): void {
    const channel = this.#channel(record.tableId, record.shard)
    const table = this.#state.tables.get(record.tableId)
    // A table that is gone.
    if (channel === undefined || table === undefined) return
    const end = record.baseRowId + record.rowCount
    if (end > channel.nextRowId) channel.nextRowId = end
    if (position < channel.checkpoint) return
    const missing = withoutSealed(channel, record.baseRowId, end)
    if (missing.length === 0) return
    const batch = decodeBatch(payload)
    if (batch.rowCount !== record.rowCount || batch.columns.length !== record.attnums.length) {
      throw corrupted('batch of other rows than announced')
    }
    const schema = this.#schemaOf(table.schema, record, batch)
    let stage = this.#stages.get(record.stageId)
    if (stage === undefined) {
      stage = new Stage(record.stageId, channel)
      this.#stages.set(record.stageId, stage)
    }
    for (const [from, to] of missing) {
      closeBefore(channel, from)
      const segment = growingFor(this.#state, channel, schema)
      const { stageId, baseRowId } = record
      segment.append(batch, record.attnums, from, stageId, from - baseRowId, to - baseRowId)
      segment.firstPosition = Math.min(segment.firstPosition, position)
      segment.versionsMixed = true
      stage.segments.add(segment)
      stage.rowCount += to - from
      this.rowCount += to - from
    }
  }

  /** The table's schema; where a column had another form when the rows were written, with that form. */
  #schemaOf(current: TableSchema, record: RowsRecord, batch: ColumnBatch): TableSchema {
    const forms = batch.columns.map((column) => `${column.kind}${widthOf(column)}`)
    const name = `${record.incarnation}:${record.attnums.join()}:${forms.join()}`
    let known = this.#schemas.get(current)
    if (known === undefined) {
      known = new Map()
      this.#schemas.set(current, known)
    }
    const schema = known.get(name) ?? schemaAsWritten(current, record, batch)
    known.set(name, schema)
    return schema
  }

  #commit(record: CommitRecord, position: LogPosition): void {
    const at = record.timestamp
    this.#noteDrawn(at)
    const { decision } = record
    if (decision !== undefined) {
      this.#state.decisions.made({
        phase: 'committed',
        decision,
        committedAt: at,
        untold: new Set(decision.participants),
        position,
        sinceMs: this.#state.runtime.monotonicMs(),
      })
    }
    for (const { tableId, shard, truncate, deletes } of record.writes) {
      const channel = this.#channel(tableId, shard)
      if (channel === undefined || position < channel.checkpoint) continue
      if (truncate) applyTruncate(channel, at, position)
      if (deletes.length > 0) applyDeletes(this.#state, channel, deletes, at, position)
    }
    for (const stage of this.#takeStages(record.stageIds)) applyStage(stage, at)
    if (record.ddl !== undefined) this.#state.unsettledDdl.set(at, { position, ddl: record.ddl })
  }

  #abort(stageId: number): void {
    const stage = this.#stages.get(stageId)
    if (stage === undefined) return
    dropStage(this.#state, stage)
    this.#stages.delete(stageId)
  }
}

/** Parts of the row ids from..to-1 that no sealed segment covers: what is in its range and not in it was dropped as dead. */
export function withoutSealed(channel: Channel, from: number, to: number): [number, number][] {
  let parts: [number, number][] = [[from, to]]
  for (const { manifest } of channel.view.sealed) {
    const { minRowId, maxRowId } = manifest
    if (maxRowId < from || minRowId >= to) continue
    parts = parts.flatMap(([start, end]): [number, number][] => {
      const before: [number, number] = [start, Math.min(end, minRowId)]
      const after: [number, number] = [Math.max(start, maxRowId + 1), end]
      return [before, after].filter(([first, last]) => first < last)
    })
  }
  return parts
}

/**
 * A segment's range of row ids covers no other segment (SEG-9): rows that follow a sealed segment begin a new one. So it was
 * before the crash too: what is sealed between was closed after what is replayed now.
 */
function closeBefore(channel: Channel, rowId: number): void {
  const open = channel.openGrowing()
  if (open === undefined || open.rowCount === 0) return
  const isBetween = channel.view.sealed.some(
    ({ manifest }) => manifest.minRowId > open.lastRowId && manifest.minRowId < rowId,
  )
  if (isBetween) open.closed = true
}

function schemaAsWritten(
  current: TableSchema,
  record: RowsRecord,
  batch: ColumnBatch,
): TableSchema {
  const columns = current.columns.map((column): ColumnSchema => {
    const written = batch.columns[record.attnums.indexOf(column.attnum)]
    if (written === undefined) return column
    const width = widthOf(written)
    if (written.kind === column.kind && width === column.width) return column
    return { ...column, kind: written.kind, width, missing: null }
  })
  const isSame = columns.every((column, i) => column === current.columns[i])
  if (isSame && record.incarnation === current.incarnation) return current
  return { ...current, incarnation: record.incarnation, columns }
}

function corrupted(what: string): DatabaseError {
  return new DatabaseError(SqlState.dataCorrupted, `log is corrupted: ${what}`)
}

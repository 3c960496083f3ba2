/** Rows of a stage on their way: into the growing segment and into log records, and out again when they are given up. */
import type { ColumnBatch } from '#engine/columnar/column.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { rowsMemory } from '#nodes/streaming/growing-memory.js'
import { encodeLogRecord } from '#nodes/streaming/log-record.js'
import { Stage } from '#nodes/streaming/stage.js'
import { growingFor, type StreamingState, tableOf } from '#nodes/streaming/state.js'

/** Ids are unique in a log: terms rise. */
const stagesPerTerm = 2 ** 33

export function createStage(state: StreamingState, channel: Channel): Stage {
  const stage = new Stage(state.log.term * stagesPerTerm + state.nextStageId, channel)
  state.nextStageId += 1
  state.stages.set(stage.stageId, stage)
  return stage
}

/** Puts the batch into the growing segment and returns its log records, to be appended in the same step. */
export function enterRows(
  state: StreamingState,
  stage: Stage,
  batch: ColumnBatch,
  encoded: Uint8Array,
): readonly Uint8Array[] {
  const { channel } = stage
  const { schema } = tableOf(state, channel.tableId)
  const attnums = schema.columns.map((column) => column.attnum)
  const segment = growingFor(state, channel, schema)
  state.memory.note(rowsMemory(encoded.byteLength, batch.rowCount))
  const baseRowId = channel.takeRowIds(batch.rowCount)
  segment.append(batch, attnums, baseRowId, stage.stageId)
  segment.firstPosition = Math.min(segment.firstPosition, state.log.nextBound)
  segment.lastAppendMs = state.runtime.monotonicMs()
  stage.segments.add(segment)
  stage.rowCount += batch.rowCount
  const record = encodeLogRecord({
    kind: 'rows',
    tableId: channel.tableId,
    shard: channel.shard,
    incarnation: schema.incarnation,
    stageId: stage.stageId,
    baseRowId,
    rowCount: batch.rowCount,
    attnums,
  })
  return [record, encoded]
}

/** The rows will never be visible. */
export function dropStage(state: StreamingState, stage: Stage): void {
  for (const segment of stage.segments) segment.abortStage(stage.stageId)
  state.stages.delete(stage.stageId)
}

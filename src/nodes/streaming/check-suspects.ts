/**
 * Staged rows whose keys others had a hand on meanwhile: judged again when their stage commits. Whoever took such a key
 * may lie in a growing segment, or in a sealed one that was not there when the row came: a segment without rows of open
 * stages is flushed whatever else is open. So sealed segments are asked again, before the step that judges.
 */
import type { Context } from '#base/context.js'
import { timestampMax } from '#base/timestamp.js'
import { takeColumn } from '#engine/columnar/batch.js'
import type { GrowingSegment } from '#engine/segment/growing.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { checkKeys } from '#nodes/streaming/check-keys.js'
import type { CommitVerdict } from '#nodes/streaming/commit-verdict.js'
import { generationOf, isWithinShard, keyChannels } from '#nodes/streaming/key-channels.js'
import { keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import { uniqueViolation } from '#nodes/streaming/key-error.js'
import { lookUpSealed, type SealedHits } from '#nodes/streaming/sealed-keys.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'

/** What sealed segments said of a stage's suspects. */
export interface SuspectLookUp {
  readonly generation: number
  readonly segments: ReadonlyMap<GrowingSegment, LookedUp>
}

interface LookedUp {
  readonly ordinals: ReadonlySet<number>
  /** By index, per channel searched: ordinal of ours → row id that holds its key. */
  readonly hits: ReadonlyMap<number, readonly SealedHits[]>
}

/** What of a commit's plan is needed here. */
interface SuspectScope {
  /** Of the same transaction. */
  readonly copies: readonly { readonly stage: Stage }[]
  readonly suspects: Map<Stage, SuspectLookUp>
  readonly writes: readonly {
    readonly channel: Channel
    readonly deletes: Float64Array
    readonly truncate: boolean
  }[]
}

const noHits: SealedHits = new Map()

/** Asks query nodes; undefined when there is nothing to ask, or it was asked and nothing has changed. */
export function lookUpSuspects(
  state: StreamingState,
  plan: SuspectScope,
  stage: Stage,
  context: Context,
): Promise<void> | undefined {
  if (needsNoLookUp(state, stage) || isCurrent(state, stage, plan.suspects.get(stage))) {
    return undefined
  }
  return lookUp(state, stage, context).then((looked) => {
    plan.suspects.set(stage, looked)
  })
}

function needsNoLookUp(state: StreamingState, stage: Stage): boolean {
  if (stage.suspects.size === 0 && !stage.isSuspect) return true
  return searched(state, stage).every(({ view }) => view.sealed.length === 0)
}

/** All channels that any of the table's keys is looked for in. */
function searched(state: StreamingState, { channel }: Stage): readonly Channel[] {
  const table = tableOf(state, channel.tableId)
  const isApart = table.schema.keys.every((key) => isWithinShard(table.schema, key))
  return isApart ? [channel] : table.channels
}

function isCurrent(
  state: StreamingState,
  stage: Stage,
  looked: SuspectLookUp | undefined,
): boolean {
  if (looked?.generation !== generationOf(searched(state, stage))) return false
  for (const [segment, ordinals] of suspectsOf(stage)) {
    const asked = looked.segments.get(segment)?.ordinals
    for (const ordinal of ordinals) if (asked?.has(ordinal) !== true) return false
  }
  return true
}

async function lookUp(
  state: StreamingState,
  stage: Stage,
  context: Context,
): Promise<SuspectLookUp> {
  const { channel } = stage
  const table = tableOf(state, channel.tableId)
  const { schema } = table
  const generation = generationOf(searched(state, stage))
  const asked = [...suspectsOf(stage)].map(([segment, ordinals]) => {
    const rows = Uint32Array.from(ordinals)
    const probes = schema.keys.flatMap((key) => {
      const index = segment.key(key.indexOid)
      if (index === undefined) return []
      const columns = segment.keyColumns(index).map((column) => takeColumn(column, rows))
      return [{ key, columns }]
    })
    return { segment, rows, probes }
  })
  const segments = new Map<GrowingSegment, LookedUp>()
  for (const { segment, rows, probes } of asked) {
    const hits = new Map<number, SealedHits[]>()
    for (const { key, columns } of probes) {
      const perChannel: SealedHits[] = []
      for (const other of keyChannels(table, key, channel)) {
        const found = await lookUpSealed(state, other, schema, key, columns, rows.length, context)
        perChannel.push(new Map([...found].map(([row, rowId]) => [rows[row] ?? -1, rowId])))
      }
      hits.set(key.indexOid, perChannel)
    }
    segments.set(segment, { ordinals: new Set(rows), hits })
  }
  return { generation, segments }
}

export function checkSuspects(
  state: StreamingState,
  plan: SuspectScope,
  stage: Stage,
): CommitVerdict | undefined {
  const { channel } = stage
  const table = tableOf(state, channel.tableId)
  const { schema } = table
  if (schema.keys.length === 0) return undefined
  const looked = plan.suspects.get(stage)
  if (!needsNoLookUp(state, stage) && !isCurrent(state, stage, looked)) return { kind: 'again' }
  const ownStages = new Set(plan.copies.map((copy) => copy.stage.stageId))
  for (const [segment, ordinals] of suspectsOf(stage)) {
    const hits = looked?.segments.get(segment)?.hits
    for (const ordinal of ordinals) {
      for (const key of schema.keys) {
        const index = segment.key(key.indexOid)
        if (index === undefined) continue
        const columns = segment.keyColumns(index)
        const channels = keyChannels(table, key, channel)
        for (let i = 0; i < channels.length; i += 1) {
          const other = channels[i] ?? channel
          const write = plan.writes.find((candidate) => candidate.channel === other)
          const verdict = checkKeys(state, other, {
            key,
            columns,
            schema,
            from: ordinal,
            to: ordinal + 1,
            sealed: hits?.get(key.indexOid)?.[i] ?? noHits,
            deletes: write?.deletes ?? new Float64Array(0),
            truncate: write?.truncate ?? false,
            ownStages,
            self: { segment, ordinal },
          })
          if (verdict === undefined) continue
          if (verdict.kind === 'wait') return verdict
          const values = keyDatums(columns, schemaColumns(schema, key.attnums), ordinal)
          return { kind: 'error', error: uniqueViolation(schema, key, values) }
        }
      }
    }
  }
  return undefined
}

function suspectsOf(stage: Stage): Iterable<readonly [GrowingSegment, Iterable<number>]> {
  if (!stage.isSuspect) return stage.suspects
  return [...stage.segments].map(
    (segment) => [segment, ordinalsOf(segment, stage.stageId)] as const,
  )
}

function* ordinalsOf(segment: GrowingSegment, stageId: number): Iterable<number> {
  for (let ordinal = 0; ordinal < segment.rowCount; ordinal += 1) {
    if (segment.insertedAt(ordinal) !== timestampMax) continue
    if (segment.pendingStage(ordinal) === stageId) yield ordinal
  }
}

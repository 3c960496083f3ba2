/** A commit request, validated and with its checks prepared: what commit.ts works from. */
import type { Context } from '#base/context.js'
import { DatabaseError, InvariantError, SqlState } from '#base/errors.js'
import type { Column, ColumnBatch } from '#engine/columnar/column.js'
import { encodeKey, keyHasNull } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { keyColumns } from '#engine/segment/key-index.js'
import type { Channel } from '#nodes/streaming/channel.js'
import { lookUpAbsent, type PlannedAbsent, planAbsent } from '#nodes/streaming/check-absent.js'
import { type InsertCheck, prepareInserts } from '#nodes/streaming/check-inserts.js'
import { lookUpSuspects, type SuspectLookUp } from '#nodes/streaming/check-suspects.js'
import type { ChannelWrite, CommitRequest, KeyReference } from '#nodes/streaming/contract.js'
import { isWithinShard } from '#nodes/streaming/key-channels.js'
import { keyColumnsOf, keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import { uniqueViolation } from '#nodes/streaming/key-error.js'
import { lookUpSealed, type SealedHits } from '#nodes/streaming/sealed-keys.js'
import type { Stage } from '#nodes/streaming/stage.js'
import { StagedCopy } from '#nodes/streaming/staged-copy.js'
import { channelOf, type StreamingState, tableOf } from '#nodes/streaming/state.js'

export interface PlannedWrite {
  readonly channel: Channel
  readonly schema: TableSchema
  readonly truncate: boolean
  readonly deletes: Float64Array
  readonly inserts: readonly ColumnBatch[]
  readonly keysElsewhere: readonly number[]
  readonly check: InsertCheck
}

export interface PlannedReference {
  readonly reference: KeyReference
  readonly schema: TableSchema
  readonly key: KeyConstraint
  /** One row. */
  readonly columns: readonly Column[]
  readonly channels: readonly Channel[]
  /** Per channel: the sealed segments looked up, and the row found there. */
  readonly sealed: { generation: number; hits: SealedHits }[]
}

export interface CommitPlan {
  readonly request: CommitRequest
  readonly writes: readonly PlannedWrite[]
  readonly references: readonly PlannedReference[]
  readonly copies: readonly StagedCopy[]
  readonly absent: readonly PlannedAbsent[]
  /** By stage: filled by looking up. */
  readonly suspects: Map<Stage, SuspectLookUp>
}

/** @throws 42P01, 0A000 */
export function planCommit(state: StreamingState, request: CommitRequest): CommitPlan {
  const writes = mergeWrites(request.writes).map((write) => {
    const channel = channelOf(state, write.tableId, write.shard)
    const table = tableOf(state, write.tableId)
    const { schema } = table
    const inserts = write.inserts.filter((batch) => batch.rowCount > 0)
    const check = prepareInserts(table, channel, inserts)
    const { truncate, deletes, keysElsewhere = [] } = write
    return { channel, schema, truncate, deletes, inserts, keysElsewhere, check }
  })
  const absent = (request.absentKeys ?? []).map((keys) => planAbsent(state, keys))
  checkTwins(writes, absent)
  const copies = request.staged.map((staged) => {
    if (staged instanceof StagedCopy) return staged
    throw new InvariantError('TXN-2', 'staged rows of another node')
  })
  const references = request.references.map((reference) => planReference(state, reference))
  return { request, writes, references, copies, absent, suspects: new Map() }
}

function planReference(state: StreamingState, reference: KeyReference): PlannedReference {
  const { schema, channels } = tableOf(state, reference.tableId)
  const key = schema.keys.find((candidate) => candidate.indexOid === reference.indexOid)
  if (key === undefined) {
    throw new DatabaseError(
      SqlState.undefinedObject,
      `index with OID ${reference.indexOid} does not exist`,
    )
  }
  const columns = keyColumns(schemaColumns(schema, key.attnums), [reference.key])
  const sealed = channels.map(() => ({ generation: -1, hits: new Map<number, number>() }))
  return { reference, schema, key, columns, channels, sealed }
}

/** The same key twice among rows of several shards: within one, check-inserts.ts looks. */
function checkTwins(writes: readonly PlannedWrite[], absent: readonly PlannedAbsent[]): void {
  if (writes.length < 2 && absent.length === 0) return
  const seen = new Set<string>()
  for (const { schema, key, columns, rowCount, records } of absent) {
    const before = seen.size
    for (const record of records) seen.add(`${key.indexOid}:${record.key}`)
    if (seen.size === before + records.length) continue
    const first = rowCount === 0 ? [] : keyDatums(columns, schemaColumns(schema, key.attnums), 0)
    throw uniqueViolation(schema, key, first)
  }
  for (const { schema, inserts } of writes) {
    for (const key of schema.keys) {
      if (isWithinShard(schema, key)) continue
      const columns = schemaColumns(schema, key.attnums)
      const typeNames = columns.map(({ typeName }) => typeName)
      for (const batch of inserts) {
        const values = keyColumnsOf(schema, key, batch)
        for (let row = 0; row < batch.rowCount; row += 1) {
          if (!key.nullsNotDistinct && keyHasNull(values, row)) continue
          const name = `${key.indexOid}:${encodeKey(values, row, typeNames)}`
          if (seen.has(name)) throw uniqueViolation(schema, key, keyDatums(values, columns, row))
          seen.add(name)
        }
      }
    }
  }
}

/** One write per channel: a transaction may have touched it several times. */
function mergeWrites(writes: readonly ChannelWrite[]): readonly ChannelWrite[] {
  if (writes.length < 2) return writes
  const merged = new Map<string, ChannelWrite>()
  for (const write of writes) {
    const name = `${write.tableId}/${write.shard}`
    const before = merged.get(name)
    if (before === undefined) {
      merged.set(name, write)
      continue
    }
    merged.set(name, {
      ...before,
      truncate: before.truncate || write.truncate,
      deletes: Float64Array.from([...before.deletes, ...write.deletes]).sort(),
      inserts: [...before.inserts, ...write.inserts],
      keysElsewhere: before.keysElsewhere ?? write.keysElsewhere,
    })
  }
  return [...merged.values()]
}

/** Asks query nodes what must be asked; undefined when nothing must. */
export function lookUpPlan(
  state: StreamingState,
  plan: CommitPlan,
  context: Context,
): Promise<void> | undefined {
  const waits: Promise<void>[] = []
  for (const { check } of plan.writes) {
    const wait = check.lookUp(state, context)
    if (wait !== undefined) waits.push(wait)
  }
  for (const reference of plan.references) {
    reference.channels.forEach((channel, i) => {
      const looked = reference.sealed[i]
      if (looked === undefined || looked.generation === channel.sealedGeneration) return
      looked.generation = channel.sealedGeneration
      if (channel.view.sealed.length === 0) return
      waits.push(
        lookUpSealed(
          state,
          channel,
          reference.schema,
          reference.key,
          reference.columns,
          1,
          context,
        ).then((hits) => {
          looked.hits = hits
        }),
      )
    })
  }
  for (const absent of plan.absent) {
    const wait = lookUpAbsent(state, absent, context)
    if (wait !== undefined) waits.push(wait)
  }
  for (const { stage } of plan.copies) {
    const wait = lookUpSuspects(state, plan, stage, context)
    if (wait !== undefined) waits.push(wait)
  }
  return waits.length === 0 ? undefined : Promise.all(waits).then(() => {})
}

/** Segment ids that entering the rows may take. */
export function segmentsNeeded(plan: CommitPlan): number {
  return plan.writes.reduce((sum, { inserts }) => sum + inserts.length, 0)
}

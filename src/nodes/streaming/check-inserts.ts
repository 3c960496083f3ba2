/** Whether all unique keys of the rows that a write inserts are free, among themselves and in the channel. */

import type { Context } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import type { Column, ColumnBatch, Datum } from '#engine/columnar/column.js'
import { widthOf } from '#engine/columnar/column-builder.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { KeyIndex } from '#engine/segment/key-index.js'
import type { Channel, Table } from '#nodes/streaming/channel.js'
import { checkKeys, type KeyVerdict, type StagedHandler } from '#nodes/streaming/check-keys.js'
import type { PendingCommit } from '#nodes/streaming/commit-queue.js'
import { generationOf, keyChannels } from '#nodes/streaming/key-channels.js'
import { keyColumnsOf, keyDatums, schemaColumns } from '#nodes/streaming/key-columns.js'
import { uniqueViolation } from '#nodes/streaming/key-error.js'
import { lookUpSealed, type SealedHits } from '#nodes/streaming/sealed-keys.js'
import type { StreamingState } from '#nodes/streaming/state.js'

export interface InsertProbe {
  readonly key: KeyConstraint
  readonly batch: ColumnBatch
  /** Row of the batch's first among all rows of the write. */
  readonly firstRow: number
  readonly columns: readonly Column[]
  readonly channels: readonly Channel[]
  /** Per channel. */
  sealed: readonly SealedHits[]
}

const noHits: readonly SealedHits[] = []
const nothing: SealedHits = new Map()

export interface InsertCheck {
  readonly channel: Channel
  readonly schema: TableSchema
  readonly probes: readonly InsertProbe[]
  /** All that any probe looks in. */
  readonly channels: readonly Channel[]
  /** Generation of the sealed segments that were looked up; -1 before. */
  generation: number
  /** Asks query nodes; without sealed segments there is nothing to wait for. */
  lookUp(state: StreamingState, context: Context): Promise<void> | undefined
}

/** @throws 0A000 when the batches are not of this version of the table */
export function prepareInserts(
  table: Table,
  channel: Channel,
  batches: readonly ColumnBatch[],
): InsertCheck {
  const { schema } = table
  const probes: InsertProbe[] = []
  let channels: readonly Channel[] = [channel]
  let firstRow = 0
  for (const batch of batches) {
    checkShape(schema, batch)
    for (const key of schema.keys) {
      const columns = keyColumnsOf(schema, key, batch)
      const searched = keyChannels(table, key, channel)
      if (searched.length > channels.length) channels = searched
      probes.push({ key, batch, firstRow, columns, channels: searched, sealed: noHits })
    }
    firstRow += batch.rowCount
  }
  return {
    channel,
    schema,
    probes,
    channels,
    generation: -1,
    lookUp(state, context) {
      if (probes.length === 0 || channels.every(({ view }) => view.sealed.length === 0)) {
        this.generation = generationOf(channels)
        for (const probe of probes) probe.sealed = noHits
        return undefined
      }
      return lookUpProbes(state, this, context)
    },
  }
}

async function lookUpProbes(
  state: StreamingState,
  check: InsertCheck,
  context: Context,
): Promise<void> {
  const { channels, schema } = check
  const generation = generationOf(channels)
  if (check.generation === generation) return
  check.generation = generation
  for (const probe of check.probes) {
    const { key, columns, batch } = probe
    const sealed: SealedHits[] = []
    for (const channel of probe.channels) {
      sealed.push(await lookUpSealed(state, channel, schema, key, columns, batch.rowCount, context))
    }
    probe.sealed = sealed
  }
}

function checkShape(schema: TableSchema, batch: ColumnBatch): void {
  const fits =
    batch.columns.length === schema.columns.length &&
    schema.columns.every((column, i) => {
      const given = batch.columns[i]
      return (
        given?.kind === column.kind &&
        given.length === batch.rowCount &&
        widthOf(given) === column.width
      )
    })
  if (!fits) {
    throw new DatabaseError(
      SqlState.featureNotSupported,
      'cached plan must not change result type',
      { schema: schema.schemaName, table: schema.name },
    )
  }
}

/** What the same transaction removes from a channel. */
export interface Removed {
  /** Ascending. */
  readonly deletes: Float64Array
  readonly truncate: boolean
}

export interface InsertScope {
  removedFrom(channel: Channel): Removed
  readonly ownStages: ReadonlySet<number>
}

export type InsertVerdict =
  /** suspectRows: rows whose key another open stage has too */
  | { readonly kind: 'free'; readonly suspectRows: readonly number[] }
  | { readonly kind: 'wait'; readonly on: PendingCommit }
  /** What was looked up is out of date. */
  | { readonly kind: 'again' }
  | { readonly kind: 'error'; readonly error: DatabaseError }

export interface FoundConflict {
  readonly kind: 'taken'
  readonly key: KeyConstraint
  /** Among all rows of the write. */
  readonly row: number
  readonly rowId: number
  readonly values: readonly Datum[]
}

export function checkInserts(
  state: StreamingState,
  check: InsertCheck,
  scope: InsertScope,
): InsertVerdict {
  const suspectRows: number[] = []
  const found = findTaken(state, check, scope, (stageId, segment, ordinal, row) => {
    state.stages.get(stageId)?.suspect(segment, ordinal)
    suspectRows.push(row)
  })
  if (found === undefined) return { kind: 'free', suspectRows }
  if (found.kind !== 'taken') return found
  return { kind: 'error', error: uniqueViolation(check.schema, found.key, found.values) }
}

/** The first row whose key is not free. */
export function findTaken(
  state: StreamingState,
  check: InsertCheck,
  scope: InsertScope,
  onStaged: StagedHandler | undefined,
):
  | FoundConflict
  | { readonly kind: 'wait'; readonly on: PendingCommit }
  | { readonly kind: 'again' }
  | undefined {
  const { channels, probes } = check
  if (probes.length === 0) return undefined
  if (check.generation !== generationOf(channels)) return { kind: 'again' }
  let first: FoundConflict | undefined
  for (const probe of probes) {
    for (let i = 0; i < probe.channels.length; i += 1) {
      const channel = probe.channels[i]
      if (channel === undefined) continue
      const { deletes, truncate } = scope.removedFrom(channel)
      const verdict: KeyVerdict | undefined = checkKeys(state, channel, {
        key: probe.key,
        columns: probe.columns,
        schema: check.schema,
        from: 0,
        to: probe.batch.rowCount,
        sealed: probe.sealed[i] ?? nothing,
        deletes,
        truncate,
        ownStages: scope.ownStages,
        onStaged,
      })
      if (verdict?.kind === 'wait') return verdict
      if (verdict === undefined) continue
      const conflict = foundConflict(check, probe, verdict.row, verdict.rowId)
      if (first === undefined || conflict.row < first.row) first = conflict
    }
  }
  const twin = findTwin(check)
  if (twin !== undefined && (first === undefined || twin.row < first.row)) first = twin
  return first
}

function foundConflict(
  check: InsertCheck,
  probe: InsertProbe,
  row: number,
  rowId: number,
): FoundConflict {
  const schemas = schemaColumns(check.schema, probe.key.attnums)
  const values = keyDatums(probe.columns, schemas, row)
  return { kind: 'taken', key: probe.key, row: probe.firstRow + row, rowId, values }
}

/** Two rows of the same write with the same key; the later one is named, its rowId is -1. */
function findTwin(check: InsertCheck): FoundConflict | undefined {
  let first: FoundConflict | undefined
  for (const key of check.schema.keys) {
    const probes = check.probes.filter((probe) => probe.key === key)
    const rowCount = probes.reduce((sum, { batch }) => sum + batch.rowCount, 0)
    if (rowCount < 2) continue
    const before: { index: KeyIndex; columns: readonly Column[] }[] = []
    for (const probe of probes) {
      const columns = schemaColumns(check.schema, key.attnums)
      const index = new KeyIndex(columns, key.nullsNotDistinct)
      index.extend(probe.columns, probe.batch.rowCount)
      for (let row = 0; row < probe.batch.rowCount; row += 1) {
        const again =
          index.older(row) >= 0 ||
          before.some((other) => other.index.find(other.columns, probe.columns, row) >= 0)
        if (!again) continue
        const conflict = foundConflict(check, probe, row, -1)
        if (first === undefined || conflict.row < first.row) first = conflict
        break
      }
      before.push({ index, columns: probe.columns })
    }
  }
  return first
}

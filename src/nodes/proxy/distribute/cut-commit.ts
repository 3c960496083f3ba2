/**
 * Cuts a transaction by log channel: what each participant writes, and what it asserts for rows that lie elsewhere. Pure.
 */
import { concatBatches, takeRows } from '#engine/columnar/batch.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { keyHasNull } from '#engine/columnar/key.js'
import type { KeyConstraint, TableSchema } from '#engine/columnar/schema.js'
import { compareNames, type Layout, spansShards } from '#nodes/proxy/distribute/layout.js'
import { routeKeys } from '#nodes/proxy/distribute/route.js'
import type {
  AbsentKeys,
  ChannelWrite,
  CommitRequest,
  KeyReference,
} from '#nodes/streaming/contract.js'

export interface Participant {
  readonly logChannel: string
  readonly request: CommitRequest
}

interface Part {
  readonly writes: ChannelWrite[]
  readonly staged: CommitRequest['staged'][number][]
  readonly references: KeyReference[]
  readonly absentKeys: AbsentKeys[]
}

/**
 * In the order in which they are visited: every transaction prepares its participants in the order of their names and the
 * last one decides, so that no two transactions wait for each other. The DDL goes with the decision.
 */
export function cutCommit(layout: Layout, request: CommitRequest): readonly Participant[] {
  const parts = new Map<string, Part>()
  const partOf = (logChannel: string): Part => {
    let part = parts.get(logChannel)
    if (part === undefined) {
      part = { writes: [], staged: [], references: [], absentKeys: [] }
      parts.set(logChannel, part)
    }
    return part
  }
  for (const write of request.writes) {
    const { tableId, shard, inserts } = write
    const keysElsewhere = inserts.length === 0 ? undefined : spanningKeys(layout, tableId)
    partOf(layout.logChannelOf(tableId, shard)).writes.push({ ...write, keysElsewhere })
  }
  for (const staged of request.staged)
    partOf(layout.logChannelOf(staged.tableId, staged.shard)).staged.push(staged)
  for (const reference of request.references)
    partOf(holderOf(layout, reference)).references.push(reference)
  for (const { logChannel, absent } of absentElsewhere(layout, request.writes))
    partOf(logChannel).absentKeys.push(absent)
  if (parts.size === 0) partOf(layout.names[0] ?? '')

  const names = [...parts.keys()].sort(compareNames)
  return names.map((logChannel, i) => {
    const { writes, staged, references, absentKeys } = partOf(logChannel)
    return {
      logChannel,
      request: {
        writes,
        staged,
        references,
        readAt: request.readAt,
        before: request.before,
        ddl: i === names.length - 1 ? request.ddl : undefined,
        ddlTurn: request.ddlTurn,
        absentKeys: absentKeys.length > 0 ? absentKeys : undefined,
      },
    }
  })
}

/** The log channel with the shard that holds a referenced key, if it is anywhere. */
function holderOf(layout: Layout, reference: KeyReference): string {
  const { tableId } = reference
  return layout.logChannelOf(tableId, reference.shard ?? hashedShard(layout, reference) ?? 0)
}

function hashedShard(layout: Layout, { tableId, indexOid, key }: KeyReference): number | undefined {
  const schema = layout.table(tableId)
  const index = schema?.keys.find((candidate) => candidate.indexOid === indexOid)
  if (schema === undefined || index?.primary !== true) return undefined
  return routeKeys(schema, index, [key])[0]
}

function spanningKeys(layout: Layout, tableId: number): readonly number[] {
  const schema = layout.table(tableId)
  if (schema === undefined) return []
  return schema.keys.filter((key) => spansShards(schema, key)).map(({ indexOid }) => indexOid)
}

/** A unique key whose rows may lie in any shard must be absent on the table's other log channels, too. */
function absentElsewhere(
  layout: Layout,
  writes: readonly ChannelWrite[],
): readonly { readonly logChannel: string; readonly absent: AbsentKeys }[] {
  const found: { logChannel: string; absent: AbsentKeys }[] = []
  for (const [tableId, own] of byTable(writes)) {
    const schema = layout.table(tableId)
    if (schema === undefined) continue
    const logChannels = [...layout.logChannelsOf(tableId).keys()]
    if (logChannels.length < 2) continue
    for (const key of schema.keys.filter((candidate) => spansShards(schema, candidate))) {
      for (const logChannel of logChannels) {
        const batches = own
          .filter(({ shard }) => layout.logChannelOf(tableId, shard) !== logChannel)
          .flatMap(({ inserts }) => inserts.flatMap((batch) => keysOf(schema, key, batch) ?? []))
        if (batches.length === 0) continue
        const keys = concatBatches(batches)
        found.push({ logChannel, absent: { tableId, indexOid: key.indexOid, keys } })
      }
    }
  }
  return found
}

function byTable(writes: readonly ChannelWrite[]): ReadonlyMap<number, readonly ChannelWrite[]> {
  const tables = new Map<number, ChannelWrite[]>()
  for (const write of writes) {
    if (write.inserts.length === 0) continue
    const own = tables.get(write.tableId)
    if (own === undefined) tables.set(write.tableId, [write])
    else own.push(write)
  }
  return tables
}

/** The key's columns of the rows whose key can be taken; undefined: of no row. */
function keysOf(
  schema: TableSchema,
  key: KeyConstraint,
  batch: ColumnBatch,
): ColumnBatch | undefined {
  const columns = key.attnums.flatMap((attnum) => {
    const position = schema.columns.findIndex((column) => column.attnum === attnum)
    return batch.columns[position] ?? []
  })
  const keys = { rowCount: batch.rowCount, columns }
  if (batch.rowCount === 0) return undefined
  if (key.nullsNotDistinct || columns.every(({ validity }) => validity === undefined)) return keys
  const rows: number[] = []
  for (let row = 0; row < batch.rowCount; row += 1) if (!keyHasNull(columns, row)) rows.push(row)
  return rows.length === 0 ? undefined : takeRows(keys, Uint32Array.from(rows))
}

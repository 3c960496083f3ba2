/** Facts about tables, their indexes and segments. */
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { int4, int8, text, timestamptzOrNever } from '#nodes/proxy/live/send-format.js'
import type { TableCounts } from '#nodes/proxy/live/table-counters.js'
import { replicasOf } from '#nodes/proxy/statements/replica-count.js'
import type { SegmentHolder } from '#nodes/query/contract.js'
import type { CatalogSnapshot, TableInfo } from '#postgres/contract.js'

export async function segments(sources: LiveSources): Promise<readonly LiveRow[]> {
  const { postgres, streaming, facts } = sources
  const rows: LiveRow[] = []
  for (const table of postgres.catalog().tables.values()) {
    if (table.kind !== 'table') continue
    const wanted = replicasOf(table) ?? facts?.replicas().byDefault ?? 1
    for (const segment of (await streaming.statistics(table.oid)).segments) {
      const { holders } = segment
      const isGrowing = segment.stage === 'growing' || segment.stage === 'sealed'
      const inState = (state: SegmentHolder['state']) =>
        (holders ?? []).filter((holder) => holder.state === state).map(({ nodeId }) => nodeId)
      const logChannel = streaming.logChannelOf(table.oid, segment.shard)
      rows.push([
        int4(table.oid),
        int4(segment.shard),
        text(logChannel),
        int8(segment.segmentId),
        text(segment.stage),
        int8(segment.rowCount),
        int8(segment.deletedCount),
        int8(segment.bytes),
        int8(segment.indexBytes),
        int8(segment.garbageBytes),
        int4(isGrowing ? 0 : wanted),
        int4(isGrowing ? 0 : holders === undefined ? 1 : inState('ready').length),
        text(inState('ready').join()),
        text(inState('loading').join()),
        text(inState('leaving').join()),
        text(facts?.ownerOf(logChannel) ?? ''),
      ])
    }
  }
  return rows
}

interface Size {
  readonly rowCount: number
  readonly deadCount: number
  readonly bytes: number
  readonly indexBytes: number
  readonly garbageBytes: number
  readonly shardCount: number
  readonly replicaCount: number
}

const nothing: Size = {
  rowCount: 0,
  deadCount: 0,
  bytes: 0,
  indexBytes: 0,
  garbageBytes: 0,
  shardCount: 0,
  replicaCount: 0,
}

/** A row for each table, for each unique and vector index, and for partitioned tables what their partitions have in rows. */
export async function relations(sources: LiveSources): Promise<readonly LiveRow[]> {
  const { postgres, streaming, tableCounters } = sources
  // Whoever has just committed counts what he has committed.
  await streaming.told()
  const catalog = postgres.catalog()
  const rows: LiveRow[] = []
  const rowCounts = new Map<number, number>()
  for (const table of catalog.tables.values()) {
    if (table.kind !== 'table') continue
    const found = await streaming.statistics(table.oid)
    rowCounts.set(table.oid, found.liveRows)
    const size: Size = {
      rowCount: found.liveRows,
      deadCount: found.deadRows,
      bytes: found.bytes,
      indexBytes: [...found.indexBytes.values()].reduce((sum, bytes) => sum + bytes, 0),
      garbageBytes: found.segments.reduce((sum, segment) => sum + segment.garbageBytes, 0),
      shardCount: Number(table.options.get('shards') ?? '1'),
      replicaCount: replicasOf(table) ?? sources.facts?.replicas().byDefault ?? 1,
    }
    rows.push(relationRow(table.oid, size, tableCounters.of(table.oid)))
    for (const oid of indexOids(table)) {
      const indexSize = {
        ...nothing,
        rowCount: found.liveRows,
        bytes: found.indexBytes.get(oid) ?? 0,
      }
      rows.push(relationRow(oid, indexSize, tableCounters.of(oid)))
    }
  }
  for (const table of catalog.tables.values()) {
    if (table.kind === 'table' || table.partitions.length === 0) continue
    const rowCount = leaves(table, catalog).reduce((sum, oid) => sum + (rowCounts.get(oid) ?? 0), 0)
    rows.push(relationRow(table.oid, { ...nothing, rowCount }, tableCounters.of(table.oid)))
  }
  return rows
}

function indexOids({ keys, vectorIndexes }: TableInfo): ReadonlySet<number> {
  return new Set([...keys, ...vectorIndexes].map(({ indexOid }) => indexOid))
}

function leaves(table: TableInfo, catalog: CatalogSnapshot): number[] {
  return table.partitions.flatMap((oid) => {
    const partition = catalog.tables.get(oid)
    if (partition === undefined) return []
    return partition.kind === 'table' ? [oid] : leaves(partition, catalog)
  })
}

function relationRow(oid: number, size: Size, counts: TableCounts): LiveRow {
  return [
    int4(oid),
    int8(size.rowCount),
    int8(size.deadCount),
    int8(size.bytes),
    int8(size.indexBytes),
    int8(size.garbageBytes),
    int4(size.shardCount),
    int4(size.replicaCount),
    int8(counts.sequentialScans),
    timestamptzOrNever(counts.lastSequentialScanMs),
    int8(counts.indexScans),
    timestamptzOrNever(counts.lastIndexScanMs),
    int8(counts.inserted),
    int8(counts.updated),
    int8(counts.deleted),
    timestamptzOrNever(counts.lastVacuumMs),
    int8(counts.vacuumCount),
    timestamptzOrNever(counts.lastAnalyzeMs),
    int8(counts.analyzeCount),
  ]
}

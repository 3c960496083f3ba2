/** Facts about tables, their indexes and segments. */
import type { LiveRow, LiveSources } from '#nodes/proxy/live/live-sources.js'
import { int4, int8, text, timestamptzOrNever } from '#nodes/proxy/live/send-format.js'
import type { TableCounts } from '#nodes/proxy/live/table-counters.js'
import type { CatalogSnapshot, TableInfo } from '#postgres/contract.js'

export async function segments({ postgres, streaming }: LiveSources): Promise<readonly LiveRow[]> {
  const rows: LiveRow[] = []
  for (const table of postgres.catalog().tables.values()) {
    if (table.kind !== 'table') continue
    for (const segment of (await streaming.statistics(table.oid)).segments) {
      rows.push([
        int4(table.oid),
        int4(segment.shard),
        text(streaming.logChannelOf(table.oid, segment.shard)),
        int8(segment.segmentId),
        text(segment.stage),
        int8(segment.rowCount),
        int8(segment.deletedCount),
        int8(segment.bytes),
        int8(segment.indexBytes),
        int8(segment.garbageBytes),
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
}

const nothing: Size = {
  rowCount: 0,
  deadCount: 0,
  bytes: 0,
  indexBytes: 0,
  garbageBytes: 0,
  shardCount: 0,
}

/** A row for each table, for each unique and vector index, and for partitioned tables what their partitions have in rows. */
export async function relations(sources: LiveSources): Promise<readonly LiveRow[]> {
  const { postgres, streaming, tableCounters } = sources
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

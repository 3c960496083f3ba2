import { isCurrent, lacksIndex } from '#nodes/streaming/build-index.js'
import type {
  IndexBuild,
  SegmentStatistics,
  StreamingActivity,
  TableStatistics,
} from '#nodes/streaming/contract.js'
import { jobReports } from '#nodes/streaming/job-reports.js'
import { isTruncated } from '#nodes/streaming/needed-position.js'
import { type StreamingState, tableOf } from '#nodes/streaming/state.js'
import type { SealedEntry } from '#nodes/streaming/view.js'

/** What the views hold now. Rows of open COPYs count as dead: nobody sees them. */
export function statistics(state: StreamingState, tableId: number): TableStatistics {
  const segments: SegmentStatistics[] = []
  const indexBytes = new Map<number, number>()
  for (const { shard, view } of tableOf(state, tableId).channels) {
    for (const entry of view.sealed) {
      if (isTruncated(entry)) continue
      segments.push({
        ...sealedStatistics(entry, shard),
        holders: state.queryNode.holders?.(entry.segmentId),
      })
      for (const { indexOid, object } of entry.manifest.indexes) {
        indexBytes.set(indexOid, (indexBytes.get(indexOid) ?? 0) + object.bytes)
      }
    }
    for (const segment of view.growing) {
      segments.push({
        segmentId: segment.segmentId,
        stage: segment.closed ? 'sealed' : 'growing',
        shard,
        rowCount: segment.rowCount,
        deletedCount: segment.deletedCount + segment.rowCount - segment.committedCount,
        bytes: Math.round(segment.byteLength),
        indexBytes: 0,
        garbageBytes: share(segment.byteLength, segment.deletedCount, segment.rowCount),
      })
    }
  }
  let rowCount = 0
  let deadRows = 0
  let bytes = 0
  for (const segment of segments) {
    rowCount += segment.rowCount
    deadRows += segment.deletedCount
    bytes += segment.bytes
  }
  const indexBuilds = indexBuildsOf(state, tableId)
  return { liveRows: rowCount - deadRows, deadRows, bytes, indexBytes, indexBuilds, segments }
}

function indexBuildsOf(state: StreamingState, tableId: number): ReadonlyMap<number, IndexBuild> {
  const { schema, channels } = tableOf(state, tableId)
  const builds = new Map<number, IndexBuild>()
  for (const index of schema.vectorIndexes) {
    let done = 0
    let total = 0
    let isWhole = true
    for (const entry of channels.flatMap(({ view }) => view.sealed)) {
      if (!isCurrent(entry, schema)) continue
      const { rowCount } = entry.manifest
      total += rowCount
      if (!lacksIndex(entry, schema, index)) done += rowCount
      else {
        isWhole = false
        if (entry.indexBuild?.indexOid === index.indexOid) done += entry.indexBuild.rowsDone
      }
    }
    if (!isWhole) builds.set(index.indexOid, { done, total })
  }
  return builds
}

function sealedStatistics({ manifest, deletes }: SealedEntry, shard: number): SegmentStatistics {
  return {
    segmentId: manifest.segmentId,
    stage: manifest.indexes.length > 0 ? 'indexed' : 'flushed',
    shard,
    rowCount: manifest.rowCount,
    deletedCount: deletes.count,
    bytes: manifest.data.bytes + (manifest.deletes?.bytes ?? 0),
    indexBytes: manifest.indexes.reduce((sum, { object }) => sum + object.bytes, 0),
    garbageBytes: share(manifest.data.bytes, deletes.count, manifest.rowCount),
  }
}

function share(bytes: number, part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((bytes * Math.min(part, whole)) / whole)
}

export function activity(state: StreamingState): StreamingActivity {
  const { logChannel, log, commits, logStart, tables } = state
  let shardCount = 0
  for (const { channels } of tables.values()) shardCount += channels.length
  return {
    logChannel,
    term: log.term,
    serviceTime: commits.bound() ?? commits.appliedTime,
    logStart,
    logEnd: log.end,
    logBytes: log.bytesHeld,
    shardCount,
    jobs: jobReports(state),
  }
}

import type { IndexBuild, TableStatistics } from '#nodes/streaming/contract.js'

/** A table's statistics from those of its log channels. */
export function combineStatistics(parts: readonly TableStatistics[]): TableStatistics {
  const [first, second] = parts
  if (first !== undefined && second === undefined) return first
  const indexBytes = new Map<number, number>()
  const indexBuilds = new Map<number, IndexBuild>()
  let liveRows = 0
  let deadRows = 0
  let bytes = 0
  for (const part of parts) {
    liveRows += part.liveRows
    deadRows += part.deadRows
    bytes += part.bytes
    for (const [indexOid, size] of part.indexBytes)
      indexBytes.set(indexOid, (indexBytes.get(indexOid) ?? 0) + size)
    for (const [indexOid, { done, total }] of part.indexBuilds) {
      const before = indexBuilds.get(indexOid)
      indexBuilds.set(indexOid, {
        done: done + (before?.done ?? 0),
        total: total + (before?.total ?? 0),
      })
    }
  }
  return {
    liveRows,
    deadRows,
    bytes,
    indexBytes,
    indexBuilds,
    segments: parts.flatMap((part) => part.segments),
  }
}

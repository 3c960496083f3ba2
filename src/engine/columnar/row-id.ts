/** Row ids of shard s are s * 2^40 + 1, …: unique in the table, rising in the shard, no coordination between shards. */
export const rowIdsPerShard = 2 ** 40

export function shardOfRowId(rowId: number): number {
  return Math.floor(rowId / rowIdsPerShard)
}

/** @param rowIds ascending @returns those of one shard, sharing memory */
export function rowIdsOfShard(rowIds: Float64Array, shard: number): Float64Array {
  const from = firstAtLeast(rowIds, shard * rowIdsPerShard)
  return rowIds.subarray(from, firstAtLeast(rowIds, (shard + 1) * rowIdsPerShard))
}

function firstAtLeast(rowIds: Float64Array, value: number): number {
  let low = 0
  let high = rowIds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((rowIds[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}

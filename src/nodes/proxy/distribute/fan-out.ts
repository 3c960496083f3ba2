/** TOPK-1: one fragment per shard, all at the same time, and their parts as if one shard had all rows. */
import type { Context } from '#base/context.js'
import { sliceBatch } from '#engine/columnar/batch.js'
import { rowIdsOfShard } from '#engine/columnar/row-id.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import { mergeScan } from '#engine/exec/merge-scan.js'
import { reduceSearch } from '#engine/exec/merge-search.js'
import type {
  AggregateFragment,
  AggregatePart,
  ScanFragment,
  ScanPart,
  ScanSummary,
  SearchFragment,
  SearchPart,
  SegmentReport,
} from '#engine/plan/fragment.js'
import type { StreamingNode } from '#nodes/streaming/contract.js'

type Scan = AsyncGenerator<ScanPart, ScanSummary>

interface Cuttable {
  readonly allowedRowIds?: Float64Array | undefined
  readonly excludedRowIds?: Float64Array | undefined
}

/** The fragment for each shard that can have rows for it; at least one. */
function cut<Fragment extends Cuttable>(
  fragment: Fragment,
  shards: readonly number[],
): readonly (Fragment & { readonly shard: number })[] {
  const [first = 0, second] = shards
  if (second === undefined) return [{ ...fragment, shard: first }]
  const { allowedRowIds, excludedRowIds } = fragment
  const cuts = shards.map((shard) => {
    const excluded = excludedRowIds === undefined ? undefined : rowIdsOfShard(excludedRowIds, shard)
    return {
      ...fragment,
      shard,
      allowedRowIds: allowedRowIds === undefined ? undefined : rowIdsOfShard(allowedRowIds, shard),
      excludedRowIds: excluded?.length === 0 ? undefined : excluded,
    }
  })
  const useful = cuts.filter((one) => one.allowedRowIds?.length !== 0)
  return useful.length > 0 ? useful : cuts.slice(0, 1)
}

export async function searchShards(
  streaming: Pick<StreamingNode, 'search'>,
  fragment: Omit<SearchFragment, 'shard'>,
  shards: readonly number[],
  context: Context,
): Promise<SearchPart> {
  const cuts = cut(fragment, shards)
  const [only, second] = cuts
  if (only !== undefined && second === undefined) return await streaming.search(only, context)
  const parts = await Promise.all(
    cuts.map(async (one) => {
      const part = await streaming.search(one, context)
      return { ...part, segments: inShard(part.segments, one.shard) }
    }),
  )
  return reduceSearch(parts, fragment.k)
}

export async function aggregateShards(
  streaming: Pick<StreamingNode, 'aggregate'>,
  fragment: Omit<AggregateFragment, 'shard'>,
  shards: readonly number[],
  context: Context,
): Promise<AggregatePart> {
  const cuts = cut(fragment, shards)
  const [only, second] = cuts
  if (only !== undefined && second === undefined) return await streaming.aggregate(only, context)
  const parts = await Promise.all(
    cuts.map(async (one) => {
      const part = await streaming.aggregate(one, context)
      return { ...part, segments: inShard(part.segments, one.shard) }
    }),
  )
  return {
    values: reduceAggregates(
      parts.map((part) => part.values),
      fragment.aggregates,
    ),
    segments: parts.flatMap((part) => part.segments),
  }
}

/** Ordered as one scan would be; without an order, parts of the shards in turn. */
export function scanShards(
  streaming: Pick<StreamingNode, 'scan'>,
  fragment: Omit<ScanFragment, 'shard'>,
  shards: readonly number[],
  context: Context,
): Scan {
  const cuts = cut(fragment, shards)
  const [only, second] = cuts
  if (only !== undefined && second === undefined) return streaming.scan(only, context)
  const { output, orderBy = [], limit } = fragment
  const begin = (one: ScanFragment): Scan => noting(streaming.scan(one, context), one.shard)
  if (orderBy.length === 0) {
    const scans = cuts.map(begin)
    return inTurn(scans, limit ?? Number.POSITIVE_INFINITY)
  }
  // Merging needs the sort keys.
  const sorted = [...new Set([...output, ...orderBy.map(({ attnum }) => attnum)])]
  const scans = cuts.map((one) => begin({ ...one, output: sorted }))
  const merged = mergeScan(scans, { output: sorted, orderBy, limit })
  return sorted.length === output.length ? merged : withColumns(merged, output.length)
}

function inShard(segments: readonly SegmentReport[], shard: number): readonly SegmentReport[] {
  return segments.map((segment) => ({ ...segment, shard }))
}

async function* noting(scan: Scan, shard: number): Scan {
  const { segments } = yield* scan
  return { segments: inShard(segments, shard) }
}

async function* withColumns(scan: Scan, count: number): Scan {
  try {
    for (;;) {
      const next = await scan.next()
      if (next.done === true) return next.value
      const { rowIds, batch } = next.value
      yield { rowIds, batch: { rowCount: batch.rowCount, columns: batch.columns.slice(0, count) } }
    }
  } finally {
    await scan.return({ segments: [] })
  }
}

/** Every scan is always at work on its next part. */
async function* inTurn(scans: readonly Scan[], limit: number): Scan {
  const segments: SegmentReport[] = []
  const ask = (scan: Scan): Promise<IteratorResult<ScanPart, ScanSummary>> => {
    const next = scan.next()
    // Its turn may never come.
    next.catch(() => {})
    return next
  }
  let running = scans.map((scan) => ({ scan, next: ask(scan) }))
  let left = limit
  try {
    while (running.length > 0 && left > 0) {
      const still: typeof running = []
      for (const { scan, next } of running) {
        const result = await next
        if (result.done === true) {
          segments.push(...result.value.segments)
          continue
        }
        still.push({ scan, next: ask(scan) })
        const { rowIds, batch } = result.value
        const count = Math.min(left, rowIds.length)
        left -= count
        if (count > 0) {
          yield { rowIds: rowIds.subarray(0, count), batch: sliceBatch(batch, 0, count) }
        }
      }
      running = still
    }
    return { segments }
  } finally {
    await Promise.all(scans.map((scan) => scan.return({ segments: [] })))
  }
}

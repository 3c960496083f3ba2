/**
 * Rows of segments that pass a fragment, in parts.
 *
 *   keys              hash look-ups, then visibility; filter and order over what was found
 *   orderBy           native top (limit, or everything when there is none)
 *   otherwise         bitset of passing rows per segment, then parts in row id order until limit
 *
 * Cancellation: checked before every part. The columns of a part may be views of the segment's memory: they stay readable
 * for as long as they are held (mapped files live until collected, outgrown buffers are replaced, not changed).
 */
import { type Context, checkCancelled } from '#base/context.js'
import type { ColumnBatch } from '#engine/columnar/column.js'
import { gatherHits, gatherRowIds, gatherRows, type Hits } from '#engine/exec/gather.js'
import { findKeys, judgeHits } from '#engine/exec/key-lookup.js'
import { type PreparedFragment, prepareFragment, report } from '#engine/exec/native-request.js'
import { PartSizer, PartSizers } from '#engine/exec/part-size.js'
import type { Native } from '#engine/index/native.js'
import type { ScanFragment, ScanPart, ScanSummary, SegmentReport } from '#engine/plan/fragment.js'
import type { ReadableSegment } from '#engine/segment/readable-segment.js'

/** Found by key, up to here the filter is judged row by row: cheaper than waking the add-on's threads. */
const judgedRowCountMax = 64
/** Parts between two pauses: some milliseconds of work when the reader does not wait for anything itself. */
const partsBetweenPauses = 16

/**
 * @param pause awaited now and then, so that a long scan leaves the event loop to others
 * @throws the context's reason when it is cancelled; 42704 when `keys` names an index that is not known
 */
export async function* scanSegments(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: ScanFragment,
  context: Context,
  pause?: () => Promise<void>,
): AsyncGenerator<ScanPart, ScanSummary> {
  checkCancelled(context)
  if (fragment.limit === 0) return { segments: [] }
  const parts = scanBy(native, segments, fragment, context)
  for (let count = 1; ; count += 1) {
    const next = await parts.next()
    if (next.done) return next.value
    yield next.value
    if (pause !== undefined && count % partsBetweenPauses === 0) await pause()
  }
}

function scanBy(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: ScanFragment,
  context: Context,
): AsyncGenerator<ScanPart, ScanSummary> {
  if (fragment.keys !== undefined) return scanKeys(native, segments, fragment, context)
  if (isOrdered(fragment)) return scanOrdered(native, segments, fragment, context)
  return scanAll(native, segments, fragment, context)
}

function isOrdered({ orderBy }: ScanFragment): boolean {
  return orderBy !== undefined && orderBy.length > 0
}

async function* scanKeys(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: ScanFragment,
  context: Context,
): AsyncGenerator<ScanPart, ScanSummary> {
  const { keys: _, ...withoutKeys } = fragment
  const { filter, output, limit } = fragment
  const found = await findKeys(segments, fragment)
  const reports = segments.map((segment) => report(segment, 'key', found.count, found.count))
  if (isOrdered(fragment) || (filter !== undefined && found.count > judgedRowCountMax)) {
    // What remains is a scan of just these rows.
    const allowedRowIds = gatherRowIds(segments, found)
    yield* scanBy(native, segments, { ...withoutKeys, allowedRowIds }, context)
    return { segments: reports }
  }
  const hits = filter === undefined ? found : judgeHits(segments, found, filter)
  const count = Math.min(hits.count, limit ?? hits.count)
  yield* partsOfHits(segments, { ...hits, count }, output, context)
  return { segments: reports }
}

async function* scanOrdered(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: ScanFragment,
  context: Context,
): AsyncGenerator<ScanPart, ScanSummary> {
  const { orderBy = [], output } = fragment
  const prepared = prepareFragment(
    segments,
    fragment,
    orderBy.map(({ attnum }) => attnum),
  )
  if (prepared.segments.length === 0) return { segments: prepared.skipped }
  const rowCount = prepared.segments.reduce((sum, segment) => sum + segment.rowCount, 0)
  const limit = Math.min(fragment.limit ?? rowCount, rowCount)
  const hits = await native.top({ ...prepared.request, orderBy, limit })
  yield* partsOfHits(prepared.segments, hits, output, context)
  const reports = prepared.segments.map((segment) =>
    report(segment, 'top', hits.count, segment.rowCount),
  )
  return { segments: [...reports, ...prepared.skipped] }
}

function* partsOfHits(
  segments: readonly ReadableSegment[],
  hits: Hits,
  output: readonly number[],
  context: Context,
): Generator<ScanPart> {
  const sizers = new PartSizers(segments, output)
  let from = 0
  while (from < hits.count) {
    checkCancelled(context)
    const to = endOfPart(hits, sizers, from)
    yield {
      rowIds: gatherRowIds(segments, hits, from, to),
      batch: gatherHits(segments, hits, output, from, to),
    }
    from = to
  }
}

/** At least one hit; as many as a part may hold. */
function endOfPart(hits: Hits, sizers: PartSizers, from: number): number {
  const room = PartSizer.room()
  let to = from
  while (to < hits.count) {
    if (!room.take(sizers.rowBytes(hits.segments[to] ?? 0, hits.ordinals[to] ?? 0))) break
    to += 1
  }
  return to
}

async function* scanAll(
  native: Native,
  segments: readonly ReadableSegment[],
  fragment: ScanFragment,
  context: Context,
): AsyncGenerator<ScanPart, ScanSummary> {
  const prepared = prepareFragment(segments, fragment, [])
  if (prepared.segments.length === 0) return { segments: prepared.skipped }
  const { bitsets, counts } = await native.filter(prepared.request)
  let left = fragment.limit ?? Number.POSITIVE_INFINITY
  for (let i = 0; i < prepared.segments.length && left > 0; i += 1) {
    const segment = prepared.segments[i]
    const bits = bitsets[i]
    if (segment === undefined || bits === undefined || counts[i] === 0) continue
    for (const part of partsOf(segment, bits, fragment.output, left)) {
      checkCancelled(context)
      yield part
      left -= part.rowIds.length
    }
  }
  return { segments: reportsOf(prepared, counts) }
}

function reportsOf(
  { segments, skipped }: PreparedFragment,
  counts: Uint32Array,
): readonly SegmentReport[] {
  const reports = segments.map((segment, i) =>
    report(segment, 'filter', counts[i] ?? 0, segment.rowCount),
  )
  return [...reports, ...skipped]
}

/** Rows whose bit is set, at most `limit`, in parts. */
function* partsOf(
  segment: ReadableSegment,
  bits: Uint8Array,
  output: readonly number[],
  limit: number,
): Generator<ScanPart> {
  const sizer = new PartSizer(segment, output)
  const ordinals = new Uint32Array(PartSizer.rowCountMax)
  let room = PartSizer.room()
  let count = 0
  let left = limit
  for (let byte = 0; byte < bits.length && left > 0; byte += 1) {
    let rest = bits[byte] ?? 0
    for (; rest !== 0 && left > 0; rest &= rest - 1) {
      const ordinal = byte * 8 + 31 - Math.clz32(rest & -rest)
      const bytes = sizer.rowBytes(ordinal)
      if (!room.take(bytes)) {
        yield partOf(segment, ordinals.subarray(0, count), output)
        room = PartSizer.room()
        room.take(bytes)
        count = 0
      }
      ordinals[count] = ordinal
      count += 1
      left -= 1
    }
  }
  if (count > 0) yield partOf(segment, ordinals.subarray(0, count), output)
}

function partOf(
  segment: ReadableSegment,
  ordinals: Uint32Array,
  output: readonly number[],
): ScanPart {
  const rowIds = new Float64Array(ordinals.length)
  for (let i = 0; i < ordinals.length; i += 1) rowIds[i] = segment.rowIds[ordinals[i] ?? 0] ?? 0
  const batch: ColumnBatch = gatherRows(segment, ordinals, output)
  return { rowIds, batch }
}

/**
 * A scan over segments on several nodes, which goes on elsewhere when a node dies in the middle.
 *
 * What one node would yield is determined by its segments and the fragment: rows in row id order, or in the fragment's order
 * with ties in row id order. So a stream that breaks is begun again on other nodes, and what was yielded already is passed
 * over: rows up to the last row id, or so many rows.
 */
import type { Context } from '#base/context.js'
import type { Runtime } from '#base/runtime.js'
import { sliceBatch } from '#engine/columnar/batch.js'
import { mergeScans } from '#engine/exec/merge-scan-parts.js'
import type { ScanFragment, ScanPart, ScanSummary } from '#engine/plan/fragment.js'
import type { Group, Target } from '#nodes/query/placed/route.js'

type Scan = AsyncGenerator<ScanPart, ScanSummary>

export interface Routing {
  route(targets: readonly Target[]): Promise<readonly Group[]>
  /** @returns leave */
  enter(group: Group): Promise<() => void>
  /** @throws what no other node can mend */
  giveWay(group: Group, error: unknown): Promise<void>
  readonly patienceMs: number
  readonly runtime: Runtime
  readonly context: Context
}

/** @param deadlineMs until when a row must have come; none: this is the first attempt */
export async function* scanGroups(
  targets: readonly Target[],
  fragment: ScanFragment,
  routing: Routing,
  deadlineMs: number = Number.POSITIVE_INFINITY,
): Scan {
  if (targets.length === 0) return { segments: [] }
  const groups = (await routing.route(targets)).map(inRowOrder)
  const [only, second] = groups
  if (only !== undefined && second === undefined) {
    return yield* scanGroup(only, fragment, routing, deadlineMs)
  }
  groups.sort((a, b) => firstRow(a) - firstRow(b))
  return yield* mergeScans(fragment, (wide) =>
    groups.map((group) => scanGroup(group, wide, routing, deadlineMs)),
  )
}

/** A group's rows, whichever nodes they come from. Attempts that give nothing follow each other; none waits inside another. */
async function* scanGroup(
  first: Group,
  fragment: ScanFragment,
  routing: Routing,
  deadlineMs: number,
): Scan {
  const { runtime, patienceMs } = routing
  let group = first
  let untilMs = deadlineMs
  for (;;) {
    const attempt = yield* attemptOf(group, fragment, routing)
    if ('summary' in attempt) return attempt.summary
    const { failure, yieldedCount, lastRowId } = attempt
    await routing.giveWay(group, failure)
    const nowMs = runtime.monotonicMs()
    if (yieldedCount > 0) {
      const again = scanGroups(group.targets, fragment, routing, nowMs + patienceMs)
      const limit = (fragment.limit ?? Number.POSITIVE_INFINITY) - yieldedCount
      const isOrdered = fragment.orderBy !== undefined && fragment.orderBy.length > 0
      const skipper = isOrdered ? countSkipper(yieldedCount) : rowSkipper(lastRowId)
      return yield* rest(again, skipper, limit)
    }
    if (nowMs >= untilMs) throw failure
    untilMs = Math.min(untilMs, nowMs + patienceMs)
    const [only, second] = (await routing.route(group.targets)).map(inRowOrder)
    // On several nodes now: each part is smaller, so this ends.
    if (only === undefined || second !== undefined) {
      return yield* scanGroups(group.targets, fragment, routing, untilMs)
    }
    group = only
  }
}

type Attempt =
  | { readonly summary: ScanSummary }
  | { readonly failure: unknown; readonly yieldedCount: number; readonly lastRowId: number }

async function* attemptOf(
  group: Group,
  fragment: ScanFragment,
  routing: Routing,
): AsyncGenerator<ScanPart, Attempt> {
  let yieldedCount = 0
  let lastRowId = Number.NEGATIVE_INFINITY
  const leave = await routing.enter(group)
  try {
    const ids = group.targets.map(({ segment }) => segment.segmentId)
    const parts = group.node.replica.scan(ids, fragment, routing.context)
    try {
      for (;;) {
        const next = await nextOf(parts)
        if ('error' in next) return { failure: next.error, yieldedCount, lastRowId }
        if (next.done) {
          group.node.noteAnswer()
          return { summary: next.value }
        }
        yieldedCount += next.value.rowIds.length
        lastRowId = next.value.rowIds.at(-1) ?? lastRowId
        yield next.value
      }
    } finally {
      await parts.return({ segments: [] }).catch(() => {})
    }
  } finally {
    leave()
  }
}

/** The error apart, so that what the reader throws into the generator is not taken for the node's. */
async function nextOf(
  parts: Scan,
): Promise<IteratorResult<ScanPart, ScanSummary> | { readonly error: unknown }> {
  try {
    return await parts.next()
  } catch (error) {
    return { error }
  }
}

type Skipper = (part: ScanPart) => number

function countSkipper(count: number): Skipper {
  let left = count
  return ({ rowIds }) => {
    const skipped = Math.min(left, rowIds.length)
    left -= skipped
    return skipped
  }
}

/** A part's rows rise. */
function rowSkipper(lastRowId: number): Skipper {
  return ({ rowIds }) => {
    let from = 0
    while (from < rowIds.length && (rowIds[from] ?? 0) <= lastRowId) from += 1
    return from
  }
}

async function* rest(parts: Scan, skipped: Skipper, limit: number): Scan {
  let left = limit
  try {
    while (left > 0) {
      const next = await parts.next()
      if (next.done) return next.value
      const { rowIds, batch } = next.value
      const from = skipped(next.value)
      const to = Math.min(rowIds.length, from + left)
      if (from === to) continue
      left -= to - from
      yield { rowIds: rowIds.subarray(from, to), batch: sliceBatch(batch, from, to) }
    }
    return { segments: [] }
  } finally {
    await parts.return({ segments: [] }).catch(() => {})
  }
}

function inRowOrder(group: Group): Group {
  const targets = [...group.targets].sort((a, b) => minRowId(a) - minRowId(b))
  return { ...group, targets }
}

function firstRow({ targets }: Group): number {
  const [first] = targets
  return first === undefined ? 0 : minRowId(first)
}

function minRowId({ segment }: Target): number {
  return segment.manifest.minRowId
}

/**
 * What the leader does for sealed segments: each is on as many query nodes as its table wants, or there are.
 *
 * In turns: 1. Which query nodes are there, and which segments? When neither has changed there is nothing to do. 2. Where should
 * each segment be (solve.ts)? What stays stays; a table's segments lie apart; what moves moves where it was before. 3. What has
 * changed is written for the owners of the log channels to follow: they load first and release after (placed-query-nodes.ts).
 * A segment that is not on the list yet lies where hashing says, which is taken for where it was.
 * Two leaders for a moment: the list of one whose term is over is refused (fenced-meta.ts).
 */

import { rankByHash } from '#base/rendezvous.js'
import type { Runtime } from '#base/runtime.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { Item, Placement } from '#nodes/coordinator/assignment/problem.js'
import { solvePlacement } from '#nodes/coordinator/assignment/solve.js'
import type { ClusterNode, Coordinator } from '#nodes/coordinator/contract.js'
import { RecentHolders } from '#nodes/coordinator/recent-holders.js'
import {
  chunksOf,
  decodeChunk,
  encodeChunk,
  placementPrefix,
} from '#nodes/coordinator/segment-placement.js'

export interface PlaceSegmentsOptions {
  readonly coordinator: Coordinator
  readonly runtime: Runtime
  /** Query nodes that are alive. */
  readonly nodes: () => readonly ClusterNode[]
  /** Of tables that do not say. */
  readonly replicaCount: number
  /** WITH (replicas = n), by table. Another map when anything has changed; undefined: not known yet. */
  readonly replicaCounts: () => ReadonlyMap<number, number> | undefined
  readonly onError: (error: unknown) => void
}

const turnMs = 250

/** Until the signal aborts. */
export async function placeSegments(
  options: PlaceSegmentsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { runtime, onError } = options
  let placing: SegmentPlacing | undefined
  while (!signal.aborted) {
    try {
      placing ??= await SegmentPlacing.open(options)
      await placing.turn()
    } catch (error) {
      if (!signal.aborted) onError(error)
      // What was written of it is read again.
      placing = undefined
    }
    await runtime.sleep(turnMs, signal).catch(() => {})
  }
}

export class SegmentPlacing {
  readonly #options: PlaceSegmentsOptions
  readonly #recent = new RecentHolders()
  /** As written. */
  #chunks: ReadonlyMap<number, string>
  #placed: ReadonlyMap<number, readonly string[]>
  #seen: { segments: unknown; nodes: string; replicaCounts: unknown } | undefined

  private constructor(options: PlaceSegmentsOptions, chunks: ReadonlyMap<number, string>) {
    this.#options = options
    this.#chunks = chunks
    this.#placed = new Map([...chunks.values()].flatMap((text) => [...decodeChunk(text)]))
  }

  static async open(options: PlaceSegmentsOptions): Promise<SegmentPlacing> {
    const stored = await options.coordinator.listSettings(placementPrefix)
    const chunks = stored.map(
      ({ key, value }) =>
        [Number(key.slice(placementPrefix.length)), new TextDecoder().decode(value)] as const,
    )
    return new SegmentPlacing(options, new Map(chunks))
  }

  async turn(): Promise<void> {
    const { coordinator, nodes, replicaCounts } = this.#options
    const present = nodes()
    const counts = replicaCounts()
    // Nobody there: what was wanted stays wanted, and who comes back finds it.
    if (present.length === 0 || counts === undefined) return
    const seen = {
      segments: await coordinator.segments(),
      nodes: JSON.stringify(
        present.map(({ id, capacity, isDraining }) => [id, capacity, isDraining]),
      ),
      replicaCounts: counts,
    }
    const before = this.#seen
    if (
      before?.segments === seen.segments &&
      before.nodes === seen.nodes &&
      before.replicaCounts === seen.replicaCounts
    ) {
      return
    }
    const wanted = this.#solve(seen.segments, present, counts)
    await this.#write(wanted)
    this.#recent.note(this.#placed, wanted)
    this.#placed = wanted
    this.#seen = seen
  }

  #solve(
    segments: readonly SegmentManifest[],
    present: readonly ClusterNode[],
    replicaCounts: ReadonlyMap<number, number>,
  ): ReadonlyMap<number, readonly string[]> {
    const staying = present.filter(({ isDraining }) => !isDraining).map(({ id }) => id)
    const last = new Map<string, readonly string[]>()
    const items = segments.map((manifest): Item => {
      const { segmentId, tableId } = manifest
      const replicaCount = replicaCounts.get(tableId) ?? this.#options.replicaCount
      const key = String(segmentId)
      last.set(
        key,
        this.#placed.get(segmentId) ?? rankByHash(segmentId, staying).slice(0, replicaCount),
      )
      const near = this.#recent.of(segmentId)
      return { key, load: loadOf(manifest), replicaCount, group: String(tableId), near }
    })
    const placement: Placement = solvePlacement({ nodes: present, items, last })
    return new Map([...placement].map(([key, on]) => [Number(key), on]))
  }

  /** Only what has changed. */
  async #write(wanted: ReadonlyMap<number, readonly string[]>): Promise<void> {
    const { coordinator } = this.#options
    const next = new Map([...chunksOf(wanted)].map(([chunk, part]) => [chunk, encodeChunk(part)]))
    for (const [chunk, text] of next) {
      if (this.#chunks.get(chunk) === text) continue
      await coordinator.putSetting(`${placementPrefix}${chunk}`, new TextEncoder().encode(text))
    }
    for (const chunk of this.#chunks.keys()) {
      if (!next.has(chunk)) await coordinator.putSetting(`${placementPrefix}${chunk}`, undefined)
    }
    this.#chunks = next
  }
}

/** What it takes in memory, and a little for each row: what a search goes through. */
function loadOf({ data, deletes, indexes, rowCount }: SegmentManifest): number {
  const rowBytes = 16
  const indexBytes = indexes.reduce((sum, { object }) => sum + object.bytes, 0)
  return data.bytes + (deletes?.bytes ?? 0) + indexBytes + rowCount * rowBytes
}

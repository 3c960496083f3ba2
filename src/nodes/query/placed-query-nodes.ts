/**
 * Several query nodes behind the contract of one. Segments are placed on as many nodes as there are replicas; a read goes to
 * one of them for each segment; deletes go to all.
 *
 * VIEW-1: a node answers for a segment only when it has all deletes that were applied here before the read came. They are kept
 * here, in order, for as long as the segment is, so that a node that has forgotten (restarted), or a new one, gets them all.
 * Wanted and observed: assign() or rendezvous hashing says where a segment should be; it is loaded there first and released
 * elsewhere afterwards, so nothing that moves is missing meanwhile.
 * Retry: what one node cannot answer another is asked, until the deadline; then 57P03.
 */
import type { Context } from '#base/context.js'
import { checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState } from '#base/errors.js'
import { rankByHash } from '#base/rendezvous.js'
import type { Runtime } from '#base/runtime.js'
import type { Timestamp } from '#base/timestamp.js'
import type { TableSchema } from '#engine/columnar/schema.js'
import { reduceAggregates } from '#engine/exec/merge-aggregates.js'
import { reduceSearch } from '#engine/exec/merge-search.js'
import type {
  AggregateFragment,
  ScanFragment,
  SearchFragment,
  SearchPart,
} from '#engine/plan/fragment.js'
import type { SegmentManifest } from '#engine/segment/manifest.js'
import type { QueryMemory, QueryNode, QueryReplica, SegmentHolder } from '#nodes/query/contract.js'
import { errorKind } from '#nodes/query/placed/error-kind.js'
import { awayMs, PlacedNode } from '#nodes/query/placed/node.js'
import { Replica } from '#nodes/query/placed/replica.js'
import { type Group, route, type Target } from '#nodes/query/placed/route.js'
import { scanGroups } from '#nodes/query/placed/scan.js'
import { PlacedSegment } from '#nodes/query/placed/segment.js'

export interface PlacedQueryNodesOptions {
  readonly runtime: Runtime
  /** Nodes that hold each segment of a table that does not say; fewer while there are fewer. */
  readonly replicaCount: number
  /** How long a read or load goes on asking before it gives up. */
  readonly patienceMs?: number | undefined
}

export interface PlacedQueryNodes extends QueryNode {
  /** A node there is. With a known id: another life of it, which knows nothing. */
  putNode(id: string, replica: QueryReplica): void
  /** Its life has ended. */
  removeNode(id: string): void
  /** Resolves when nothing is on the node any more that is not elsewhere; removeNode() follows. */
  drain(id: string): Promise<void>
  /** Where segments should be, as the coordinator decided; for others hashing decides. */
  assign(nodeIds: ReadonlyMap<number, readonly string[]>): void
  /** Nodes that can answer for each segment. */
  placement(): ReadonlyMap<number, readonly string[]>
}

const patienceMsDefault = 10_000
/** Between looks, when nothing has changed. */
const lookMs = 50

export function openPlacedQueryNodes(options: PlacedQueryNodesOptions): PlacedQueryNodes {
  return new Placing(options)
}

const noRows = new Float64Array(0)
const noHits: SearchPart = {
  distances: noRows,
  rowIds: noRows,
  batch: { rowCount: 0, columns: [] },
  segments: [],
}

class Placing implements PlacedQueryNodes {
  readonly #runtime: Runtime
  readonly #replicaCount: number
  readonly #patienceMs: number
  readonly #nodes = new Map<string, PlacedNode>()
  readonly #segments = new Map<number, PlacedSegment>()
  readonly #schemas = new Map<number, TableSchema>()
  #assigned: ReadonlyMap<number, readonly string[]> = new Map()
  #isStopped = false
  #wake: () => void = () => {}
  #change: Promise<void> = Promise.resolve()

  constructor(options: PlacedQueryNodesOptions) {
    this.#runtime = options.runtime
    this.#replicaCount = options.replicaCount
    this.#patienceMs = options.patienceMs ?? patienceMsDefault
    this.#noteChange()
  }

  putNode(id: string, replica: QueryReplica): void {
    this.#end(id)
    const node = new PlacedNode(id, replica, this.#runtime)
    this.#nodes.set(id, node)
    for (const schema of this.#schemas.values()) node.putSchema(schema)
    this.#placeAll()
  }

  removeNode(id: string): void {
    this.#end(id)
    this.#nodes.delete(id)
    this.#placeAll()
  }

  async drain(id: string): Promise<void> {
    const node = this.#nodes.get(id)
    if (node === undefined) return
    node.isDraining = true
    this.#placeAll()
    while (!node.isGone && this.#holds(node)) await this.#nextChange()
  }

  assign(nodeIds: ReadonlyMap<number, readonly string[]>): void {
    const before = this.#assigned
    this.#assigned = nodeIds
    for (const segment of this.#segments.values()) {
      const { segmentId } = segment
      if (before.get(segmentId)?.join() !== nodeIds.get(segmentId)?.join()) this.#place(segment)
    }
    this.#noteChange()
  }

  placement(): ReadonlyMap<number, readonly string[]> {
    const placed = [...this.#segments.values()].map((segment) => {
      const able = [...segment.replicas.values()].filter((one) =>
        one.canAnswer(segment.deleteCount),
      )
      return [segment.segmentId, able.map(({ node }) => node.id).sort()] as const
    })
    return new Map(placed)
  }

  holders(segmentId: number): readonly SegmentHolder[] {
    const segment = this.#segments.get(segmentId)
    if (segment === undefined) return []
    return [...segment.replicas.values()]
      .filter(({ isOver }) => !isOver)
      .map((replica) => {
        const isReady = replica.canAnswer(segment.deleteCount)
        const state = replica.isWanted ? (isReady ? 'ready' : 'loading') : 'leaving'
        return { nodeId: replica.node.id, state } as const
      })
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
  }

  async load(
    manifest: SegmentManifest,
    schema: TableSchema,
    when: 'now' | 'when read' = 'now',
  ): Promise<void> {
    let segment = this.#segments.get(manifest.segmentId)
    if (segment === undefined) {
      segment = new PlacedSegment(manifest, schema)
      this.#segments.set(manifest.segmentId, segment)
    } else {
      if (
        segment.manifest.data.name !== manifest.data.name ||
        !isSame(segment.manifest, manifest)
      ) {
        segment.manifest = manifest
      }
      segment.schema = schema
    }
    segment.when = when
    this.#place(segment)
    const deadlineMs = this.#runtime.monotonicMs() + this.#patienceMs
    for (;;) {
      const { manifest: wanted } = segment
      const replicas = [...segment.replicas.values()].filter(({ isWanted }) => isWanted)
      if (replicas.some((replica) => replica.manifest === wanted)) return
      const failed = replicas.find(
        ({ error }) => error !== undefined && errorKind(error) === 'final',
      )
      if (failed !== undefined) throw failed.error
      if (this.#isStopped) throw stopped()
      if (this.#segments.get(manifest.segmentId) !== segment) return
      if (this.#runtime.monotonicMs() >= deadlineMs) throw noNode(replicas[0]?.error)
      await this.#nextChange()
      this.#placeIfHere(segment)
    }
  }

  async release(segmentId: number): Promise<void> {
    const segment = this.#segments.get(segmentId)
    if (segment === undefined) return
    this.#segments.delete(segmentId)
    const replicas = [...segment.replicas.values()]
    for (const replica of replicas) replica.isWanted = false
    await Promise.all(replicas.map((replica) => this.#released(replica)))
  }

  /** A node that is away is told later, or has forgotten by then. */
  async #released(replica: Replica): Promise<void> {
    void replica.settle()
    while (!replica.isOver && !replica.node.isAway) await this.#nextChange()
  }

  putSchema(schema: TableSchema): void {
    this.#schemas.set(schema.tableId, schema)
    for (const node of this.#nodes.values()) node.putSchema(schema)
    for (const segment of this.#segments.values()) {
      const { tableId, incarnation, replicaCount } = segment.schema
      if (tableId !== schema.tableId || incarnation !== schema.incarnation) continue
      segment.schema = schema
      if (replicaCount !== schema.replicaCount) this.#place(segment)
    }
  }

  applyDeletes(segmentId: number, rowIds: Float64Array, at: Timestamp): void {
    const segment = this.#segments.get(segmentId)
    if (segment === undefined) throw notLoaded(segmentId)
    segment.addDeletes(rowIds, at)
    for (const replica of segment.replicas.values()) replica.deliver()
  }

  async search(
    segmentIds: readonly number[],
    fragment: SearchFragment,
    context: Context,
  ): Promise<SearchPart> {
    const targets = this.#targets(segmentIds)
    if (targets.length === 0) return noHits
    const parts = await this.#ask(targets, context, ({ node }, ids) =>
      node.replica.search(ids, fragment, context),
    )
    const [only, second] = parts
    return only !== undefined && second === undefined ? only : reduceSearch(parts, fragment.k)
  }

  async aggregate(segmentIds: readonly number[], fragment: AggregateFragment, context: Context) {
    const targets = this.#targets(segmentIds)
    const parts = await this.#ask(targets, context, ({ node }, ids) =>
      node.replica.aggregate(ids, fragment, context),
    )
    const [only, second] = parts
    if (only !== undefined && second === undefined) return only
    return {
      values: reduceAggregates(
        parts.map(({ values }) => values),
        fragment.aggregates,
      ),
      segments: parts.flatMap(({ segments }) => segments),
    }
  }

  async *scan(segmentIds: readonly number[], fragment: ScanFragment, context: Context) {
    const targets = this.#targets(segmentIds)
    return yield* scanGroups(targets, fragment, {
      route: (wanted) => this.#routeAll(wanted, context),
      enter: (group) => this.#enter(group),
      giveWay: (group, error) => this.#giveWay(group, error, context),
      patienceMs: this.#patienceMs,
      runtime: this.#runtime,
      context,
    })
  }

  /** What the nodes use they tell by themselves. */
  memory(): QueryMemory {
    const segmentCount = this.#segments.size
    const none = { budgetBytes: 0, usedBytes: 0, residentCount: 0, waitingCount: 0 }
    return { ...none, segmentCount, loads: 0, evictions: 0 }
  }

  /** The nodes go on: they are not ours. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const id of [...this.#nodes.keys()]) this.#end(id)
    this.#noteChange()
  }

  #targets(segmentIds: readonly number[]): Target[] {
    return segmentIds.map((segmentId) => {
      const segment = this.#segments.get(segmentId)
      if (segment === undefined) throw this.#isStopped ? stopped() : notLoaded(segmentId)
      return { segment, deleteCount: segment.deleteCount }
    })
  }

  /** Asks until every target is answered for by one node. */
  async #ask<Part>(
    targets: readonly Target[],
    context: Context,
    run: (group: Group, segmentIds: readonly number[]) => Promise<Part>,
  ): Promise<Part[]> {
    const parts: Part[] = []
    const deadlineMs = this.#runtime.monotonicMs() + this.#patienceMs
    for (let left = targets; left.length > 0; ) {
      const groups = await this.#routeAll(left, context)
      const unanswered = await Promise.all(
        groups.map(async (group) => {
          const leave = await this.#enter(group)
          try {
            parts.push(await run(group, idsOf(group)))
            group.node.noteAnswer()
            return []
          } catch (error) {
            await this.#giveWay(group, error, context)
            if (this.#runtime.monotonicMs() >= deadlineMs) throw noNode(error)
            return group.targets
          } finally {
            leave()
          }
        }),
      )
      left = unanswered.flat()
    }
    return parts
  }

  /** Groups for all targets; waits for those for which nobody can answer. */
  async #routeAll(targets: readonly Target[], context: Context): Promise<readonly Group[]> {
    const deadlineMs = this.#runtime.monotonicMs() + this.#patienceMs
    for (;;) {
      checkCancelled(context)
      const { groups, waiting } = route(targets)
      if (waiting.length === 0) return groups
      if (this.#isStopped) throw stopped()
      const gone = waiting.find(({ segment }) => this.#segments.get(segment.segmentId) !== segment)
      if (gone !== undefined) throw notLoaded(gone.segment.segmentId)
      if (this.#runtime.monotonicMs() >= deadlineMs) throw noNode(undefined)
      for (const { segment } of waiting) this.#placeIfHere(segment)
      await this.#nextChange()
    }
  }

  async #enter({ node, rowCount, targets }: Group): Promise<() => void> {
    node.rowsInFlight += rowCount
    const tableId = targets[0]?.segment.schema.tableId
    const schema = tableId === undefined ? undefined : node.knowsSchema(tableId)
    if (schema !== undefined) await Promise.race([schema, this.#runtime.sleep(lookMs)])
    return () => {
      node.rowsInFlight -= rowCount
    }
  }

  /** The node did not answer: others are asked. @throws what every node would say */
  async #giveWay({ node, targets }: Group, error: unknown, context: Context): Promise<void> {
    checkCancelled(context)
    const kind = errorKind(error)
    if (kind === 'final') throw error
    if (kind === 'away') {
      node.noteAway()
      for (const { segment } of targets) this.#placeIfHere(segment)
      this.#placeWhenBack(node)
      // Nobody else to ask: not at once again.
      await this.#runtime.sleep(1)
      return
    }
    for (const { segment } of targets) {
      const replica = segment.replicas.get(node.id)
      if (replica?.node === node) replica.noteLost()
    }
  }

  /** Who stood in for it goes then. */
  #placeWhenBack(node: PlacedNode): void {
    if (node.isAwaited) return
    node.isAwaited = true
    void this.#runtime.sleep(awayMs).then(() => {
      node.isAwaited = false
      if (this.#isStopped || node.isGone) return
      if (node.isAway) this.#placeWhenBack(node)
      else this.#placeAll()
    })
  }

  #placeAll(): void {
    for (const segment of this.#segments.values()) this.#place(segment)
    this.#noteChange()
  }

  /** Wants the segment where it should be, and elsewhere no more as soon as it is there. */
  #place(segment: PlacedSegment): void {
    for (const [id, replica] of segment.replicas) if (replica.isOver) segment.replicas.delete(id)
    const ranked = this.#rankedNodes(segment.segmentId)
    const wanted = ranked.slice(0, this.#replicaCountOf(segment))
    for (const node of [...wanted, ...substitute(segment, [...ranked, ...this.#nodes.values()])]) {
      let replica = segment.replicas.get(node.id)
      if (replica === undefined) {
        replica = new Replica(segment, node, this.#runtime, () => this.#onReplica(segment))
        segment.replicas.set(node.id, replica)
      }
      replica.isWanted = true
      void replica.settle()
    }
    // One that does not answer now has the segment, and is no use: who stands in for it keeps it.
    const isThere = wanted.every(
      (node) =>
        !node.isAway && segment.replicas.get(node.id)?.canAnswer(segment.deleteCount) === true,
    )
    if (!isThere || wanted.length === 0) return
    for (const replica of segment.replicas.values()) {
      if (!replica.isWanted || wanted.includes(replica.node)) continue
      replica.isWanted = false
      void replica.settle()
    }
  }

  #replicaCountOf({ schema }: PlacedSegment): number {
    return schema.replicaCount ?? this.#replicaCount
  }

  #placeIfHere(segment: PlacedSegment): void {
    if (this.#segments.get(segment.segmentId) === segment && !this.#isStopped) this.#place(segment)
  }

  #onReplica(segment: PlacedSegment): void {
    if (segment.replicas.size > this.#replicaCountOf(segment)) this.#placeIfHere(segment)
    this.#noteChange()
  }

  /** Where the segment should be, best first. */
  #rankedNodes(segmentId: number): PlacedNode[] {
    const staying = [...this.#nodes.values()].filter(({ isDraining }) => !isDraining)
    const usable = staying.length > 0 ? staying : [...this.#nodes.values()]
    const ids = usable.map(({ id }) => id)
    const assigned = (this.#assigned.get(segmentId) ?? []).filter((id) => ids.includes(id))
    return [...new Set([...assigned, ...rankByHash(segmentId, ids)])]
      .map((id) => this.#nodes.get(id))
      .filter((node) => node !== undefined)
  }

  #holds(node: PlacedNode): boolean {
    for (const { replicas } of this.#segments.values()) {
      const replica = replicas.get(node.id)
      if (replica !== undefined && replica.node === node && !replica.isOver) return true
    }
    return false
  }

  #end(id: string): void {
    const node = this.#nodes.get(id)
    if (node === undefined) return
    node.isGone = true
    for (const { replicas } of this.#segments.values()) {
      if (replicas.get(id)?.node === node) replicas.delete(id)
    }
  }

  #noteChange(): void {
    this.#wake()
    this.#change = new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  async #nextChange(): Promise<void> {
    await Promise.race([this.#change, this.#runtime.sleep(lookMs)])
  }
}

/** The best node that answers, be it draining, when none that has the segment does. */
function substitute(segment: PlacedSegment, ranked: readonly PlacedNode[]): readonly PlacedNode[] {
  for (const replica of segment.replicas.values()) {
    if (replica.manifest !== undefined && !replica.node.isAway) return []
  }
  return ranked.filter(({ isAway }) => !isAway).slice(0, 1)
}

function idsOf({ targets }: Group): number[] {
  return targets.map(({ segment }) => segment.segmentId)
}

function isSame(a: SegmentManifest, b: SegmentManifest): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function notLoaded(segmentId: number): DatabaseError {
  return new DatabaseError(
    SqlState.objectNotInPrerequisiteState,
    `segment ${segmentId} is not loaded`,
  )
}

function noNode(cause: unknown): DatabaseError {
  return new DatabaseError(SqlState.cannotConnectNow, 'no query node can answer', {
    hint: 'Query nodes are being started, or cannot be reached.',
    cause,
  })
}

function stopped(): DatabaseError {
  return new DatabaseError(SqlState.adminShutdown, 'query node is stopping')
}

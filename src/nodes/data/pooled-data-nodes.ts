/**
 * Several data nodes behind the contract of one: a job goes to the node with the fewest, and to another when that one dies or
 * gives no answer. A job may so be done twice: objects are immutable, each run writes its own, and only the manifest that the
 * caller has accepted counts; what the other wrote is garbage.
 */
import { type Context, checkCancelled } from '#base/context.js'
import { DatabaseError, SqlState, StoreError, UnreachableError } from '#base/errors.js'
import type { Runtime } from '#base/runtime.js'
import type { DataNode } from '#nodes/data/contract.js'

export interface PooledDataNodesOptions {
  readonly runtime: Runtime
  /** How long a job waits for a node that can do it. */
  readonly patienceMs?: number | undefined
}

export interface PooledDataNodes extends DataNode {
  putNode(id: string, node: DataNode): void
  removeNode(id: string): void
  /** No more jobs for it; resolves when it has none. */
  drain(id: string): Promise<void>
}

interface PooledNode {
  readonly id: string
  readonly node: DataNode
  jobCount: number
  isDraining: boolean
  isGone: boolean
  /** Passed over until then, if there is another. */
  awayUntilMs: number
}

const patienceMsDefault = 30_000
const awayMs = 1000
const lookMs = 50

export function openPooledDataNodes(options: PooledDataNodesOptions): PooledDataNodes {
  const { runtime } = options
  const patienceMs = options.patienceMs ?? patienceMsDefault
  const nodes = new Map<string, PooledNode>()
  let isStopped = false

  function choose(): PooledNode | undefined {
    const nowMs = runtime.monotonicMs()
    const order = (node: PooledNode) => [Number(node.awayUntilMs > nowMs), node.jobCount] as const
    let best: PooledNode | undefined
    for (const node of nodes.values()) {
      if (node.isDraining) continue
      if (best === undefined) {
        best = node
        continue
      }
      const [away, jobs] = order(node)
      const [bestAway, bestJobs] = order(best)
      if (away < bestAway || (away === bestAway && jobs < bestJobs)) best = node
    }
    return best
  }

  async function run<T>(job: (node: DataNode) => Promise<T>, context: Context): Promise<T> {
    let deadlineMs = runtime.monotonicMs() + patienceMs
    let failure: unknown
    for (;;) {
      checkCancelled(context)
      if (isStopped) throw new DatabaseError(SqlState.adminShutdown, 'data node is stopping')
      const chosen = choose()
      if (chosen !== undefined) {
        const beganMs = runtime.monotonicMs()
        chosen.jobCount += 1
        try {
          return await job(chosen.node)
        } catch (error) {
          checkCancelled(context)
          if (!isAway(error)) throw error
          failure = error
          chosen.awayUntilMs = runtime.monotonicMs() + awayMs
          // Time in which somebody worked is not time in which nobody could.
          deadlineMs += runtime.monotonicMs() - beganMs
        } finally {
          chosen.jobCount -= 1
        }
      }
      if (runtime.monotonicMs() >= deadlineMs) throw failure ?? noNode()
      await runtime.sleep(lookMs, context.signal)
    }
  }

  return {
    putNode(id, node) {
      const before = nodes.get(id)
      if (before !== undefined) before.isGone = true
      const fresh = { jobCount: 0, isDraining: false, isGone: false, awayUntilMs: 0 }
      nodes.set(id, { id, node, ...fresh })
    },
    removeNode(id) {
      const node = nodes.get(id)
      if (node !== undefined) node.isGone = true
      nodes.delete(id)
    },
    async drain(id) {
      const node = nodes.get(id)
      if (node === undefined) return
      node.isDraining = true
      while (node.jobCount > 0 && !node.isGone) await runtime.sleep(lookMs)
    },
    flush: (segmentId, schema, rows, context, graphs) =>
      run((node) => node.flush(segmentId, schema, rows, context, graphs), context),
    buildIndex: (manifest, schema, index, onProgress, context) =>
      run((node) => node.buildIndex(manifest, schema, index, onProgress, context), context),
    compact: (segmentId, schema, inputs, context) =>
      run((node) => node.compact(segmentId, schema, inputs, context), context),
    writeDeletes: (manifest, deletes, context) =>
      run((node) => node.writeDeletes(manifest, deletes, context), context),
    readDeletes: (manifest, context) => run((node) => node.readDeletes(manifest, context), context),
    async *listObjects(context) {
      // Whole, so that a list that breaks off is begun again elsewhere.
      yield* await run((node) => collected(node.listObjects(context)), context)
    },
    removeObjects: (names, context) => run((node) => node.removeObjects(names, context), context),
    removeSegment: (segment, context) =>
      run((node) => node.removeSegment(segment, context), context),
    // The nodes go on: they are not ours.
    async stop() {
      isStopped = true
    },
  }
}

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** It died, stops, or gives no answer. What its object store says another node's may not say. */
function isAway(error: unknown): boolean {
  if (error instanceof UnreachableError || error instanceof StoreError) return true
  if (!(error instanceof DatabaseError)) return false
  const { sqlState } = error
  return (
    sqlState === SqlState.adminShutdown ||
    sqlState === SqlState.connectionFailure ||
    sqlState === SqlState.cannotConnectNow
  )
}

function noNode(): DatabaseError {
  return new DatabaseError(SqlState.cannotConnectNow, 'no data node can be reached')
}

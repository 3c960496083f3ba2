/** Query and data nodes of the cluster behind the contract of one, kept current with who is there. */
import type { Runtime } from '#base/runtime.js'
import type { FollowedPlacement } from '#cluster/follow-placement.js'
import type { Member } from '#cluster/open-member.js'
import type { DataNode } from '#nodes/data/contract.js'
import { openPooledDataNodes } from '#nodes/data/pooled-data-nodes.js'
import { remoteData } from '#nodes/data/remote.js'
import type { QueryNode } from '#nodes/query/contract.js'
import { openPlacedQueryNodes } from '#nodes/query/placed-query-nodes.js'
import { remoteQuery } from '#nodes/query/remote.js'

interface Followed {
  putNode(id: string, address: string, life: string): void
  /** It takes nothing more, and shall have nothing in the end. */
  drain(id: string): Promise<void>
  removeNode(id: string): void
}

/** Tells of lives that begin and end. */
function follow(member: Member, kind: 'query' | 'data', followed: Followed): () => void {
  const lives = new Map<string, string>()
  const draining = new Set<string>()
  let isStopped = false
  member.nodes.onChange(() => {
    if (isStopped) return
    const present = member.nodes.ofKind(kind)
    for (const id of lives.keys()) {
      if (present.some((node) => node.id === id)) continue
      lives.delete(id)
      draining.delete(id)
      followed.removeNode(id)
    }
    for (const { id, address, life, isDraining } of present) {
      const isNew = lives.get(id) !== life
      if (isNew) {
        lives.set(id, life)
        draining.delete(id)
        followed.putNode(id, address, life)
      }
      if (!isDraining || draining.has(id)) continue
      draining.add(id)
      // Who leaves waits by itself until it has nothing.
      void followed.drain(id)
    }
  })
  return () => {
    isStopped = true
  }
}

/** As the owner of one log channel sees them. */
export function followQueryNodes(
  member: Member,
  runtime: Runtime,
  replicaCount: number,
  placement: FollowedPlacement,
): QueryNode {
  const placed = openPlacedQueryNodes({ runtime, replicaCount })
  const endPlacement = placement.follow((nodeIds) => placed.assign(nodeIds))
  const end = follow(member, 'query', {
    putNode: (id, address, life) =>
      placed.putNode(id, remoteQuery(member.connections.to(address), life)),
    drain: (id) => placed.drain(id),
    removeNode: (id) => placed.removeNode(id),
  })
  const stop = placed.stop.bind(placed)
  return Object.assign(placed, {
    async stop() {
      end()
      endPlacement()
      await stop()
    },
  })
}

/**
 * Flushes are done here, where the rows and their graphs lie, and so is what takes no time; indexes and merges by the cluster's
 * data nodes.
 */
export function followDataNodes(member: Member, runtime: Runtime, local: DataNode): DataNode {
  const pooled = openPooledDataNodes({ runtime })
  const end = follow(member, 'data', {
    putNode: (id, address) => pooled.putNode(id, remoteData(member.connections.to(address))),
    drain: (id) => pooled.drain(id),
    removeNode: (id) => pooled.removeNode(id),
  })
  return {
    flush: (segmentId, schema, rows, context, graphs) =>
      local.flush(segmentId, schema, rows, context, graphs),
    buildIndex: (manifest, schema, index, onProgress, context) =>
      pooled.buildIndex(manifest, schema, index, onProgress, context),
    compact: (segmentId, schema, inputs, context) =>
      pooled.compact(segmentId, schema, inputs, context),
    writeDeletes: (manifest, deletes, context) => local.writeDeletes(manifest, deletes, context),
    readDeletes: (manifest, context) => local.readDeletes(manifest, context),
    listObjects: (context) => local.listObjects(context),
    removeObjects: (names, context) => local.removeObjects(names, context),
    removeSegment: (segment, context) => local.removeSegment(segment, context),
    async stop() {
      end()
      await pooled.stop()
      await local.stop()
    },
  }
}

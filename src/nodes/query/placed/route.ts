/** Which node answers for which segment: pure. */
import type { PlacedNode } from '#nodes/query/placed/node.js'
import type { PlacedSegment } from '#nodes/query/placed/segment.js'

/** A segment of a read, with the deletes that the read must see. */
export interface Target {
  readonly segment: PlacedSegment
  readonly deleteCount: number
}

export interface Group {
  readonly node: PlacedNode
  readonly targets: readonly Target[]
  readonly rowCount: number
}

/**
 * Each target goes to a node that can answer for it: one that answers at all before one that lately did not, then the one with
 * the fewest rows to go through. @returns groups by node, and targets for which nobody can answer yet
 */
export function route(targets: readonly Target[]): {
  readonly groups: readonly Group[]
  readonly waiting: readonly Target[]
} {
  const groups = new Map<PlacedNode, { targets: Target[]; rowCount: number }>()
  const waiting: Target[] = []
  for (const target of targets) {
    let best: PlacedNode | undefined
    let bestRows = 0
    for (const replica of target.segment.replicas.values()) {
      if (!replica.canAnswer(target.deleteCount)) continue
      const { node } = replica
      const rows = node.rowsInFlight + (groups.get(node)?.rowCount ?? 0)
      if (best === undefined || Number(node.isAway) - Number(best.isAway) < 0) {
        best = node
        bestRows = rows
      } else if (node.isAway === best.isAway && rows < bestRows) {
        best = node
        bestRows = rows
      }
    }
    if (best === undefined) {
      waiting.push(target)
      continue
    }
    const group = groups.get(best) ?? { targets: [], rowCount: 0 }
    groups.set(best, group)
    group.targets.push(target)
    group.rowCount += target.segment.manifest.rowCount
  }
  return { groups: [...groups].map(([node, group]) => ({ node, ...group })), waiting }
}

/** Rendezvous hashing: the nodes that a segment wants, best first; who asks later gets the same, and few move when nodes do. */
export function rankNodes(segmentId: number, nodeIds: readonly string[]): string[] {
  return nodeIds
    .map((id) => ({ id, weight: mix(segmentId, id) }))
    .sort((a, b) => b.weight - a.weight || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id)
}

/** FNV-1a over the name and the id, finished as MurmurHash3 does (fmix32). */
function mix(segmentId: number, id: string): number {
  let hash = 0x811c9dc5
  for (const unit of `${id}/${segmentId}`) {
    hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

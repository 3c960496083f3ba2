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

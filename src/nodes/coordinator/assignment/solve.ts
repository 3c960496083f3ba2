/**
 * Places items on nodes, moving as little as it can: pure, and the same for the same problem.
 *
 * 1. What lies on a node that still is stays there. 2. What is missing goes, the heaviest item first, to the node with the
 * least load for its capacity; of nearly equal ones to one that has it at hand, then to the one with the least of its group.
 * 3. While the fullest and the emptiest node differ by more than the tolerance, an item moves between them: one that the
 * emptier has at hand, or has less of its group; of these the largest that brings them nearer.
 *
 * The tolerance is the largest item plus a tenth of the mean: so 2 alone never makes 3 necessary, nothing moves when nothing
 * has changed, and when a node dies only what it held moves.
 */
import { Bin } from '#nodes/coordinator/assignment/bin.js'
import type { Item, Placement, PlacementProblem } from '#nodes/coordinator/assignment/problem.js'

const tolerancePart = 0.1

export function solvePlacement({ nodes, items, last }: PlacementProblem): Placement {
  const staying = nodes.filter(({ isDraining }) => isDraining !== true)
  const bins = (staying.length > 0 ? staying : nodes)
    .map((node) => new Bin(node))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  if (bins.length === 0) return new Map(items.map(({ key }) => [key, []]))
  const heaviestFirst = [...items].sort((a, b) => b.load - a.load || (a.key < b.key ? -1 : 1))
  for (const item of heaviestFirst) keep(bins, item, last.get(item.key) ?? [])
  for (const item of heaviestFirst) fill(bins, item)
  const tolerance = toleranceOf(bins, heaviestFirst[0])
  balance(bins, items.length, tolerance)
  return new Map(items.map((item) => [item.key, inOrder(bins, item, last.get(item.key) ?? [])]))
}

function inOrder(bins: readonly Bin[], item: Item, last: readonly string[]): string[] {
  const on = bins.filter((bin) => bin.items.has(item)).map(({ id }) => id)
  return [...last.filter((id) => on.includes(id)), ...on.filter((id) => !last.includes(id))]
}

/** No more than are wanted: those that had it longest. */
function keep(bins: readonly Bin[], item: Item, last: readonly string[]): void {
  let missing = item.replicaCount
  for (const id of last) {
    if (missing === 0) return
    const bin = bins.find((candidate) => candidate.id === id)
    if (bin === undefined || bin.items.has(item)) continue
    bin.add(item)
    missing -= 1
  }
}

function fill(bins: readonly Bin[], item: Item): void {
  const free = bins.filter(({ items }) => !items.has(item))
  let missing = item.replicaCount - (bins.length - free.length)
  if (missing <= 0) return
  const mean = bins.reduce((sum, { level }) => sum + level, 0) / bins.length
  const after = (bin: Bin) => bin.level + bin.share(item)
  const byLevel = free.sort((a, b) => after(a) - after(b) || (a.id < b.id ? -1 : 1))
  for (; missing > 0 && byLevel.length > 0; missing -= 1) {
    const most = after(byLevel[0] as Bin) + tolerancePart * mean
    const rank = (bin: Bin) => Number(item.near?.includes(bin.id) === true)
    const [best] = byLevel
      .filter((bin) => after(bin) <= most)
      .sort((a, b) => rank(b) - rank(a) || a.groupLevel(item.group) - b.groupLevel(item.group))
    if (best === undefined) return
    best.add(item)
    byLevel.splice(byLevel.indexOf(best), 1)
  }
}

function toleranceOf(bins: readonly Bin[], heaviest: Item | undefined): number {
  const mean = bins.reduce((sum, { level }) => sum + level, 0) / bins.length
  const largest = Math.max(
    0,
    ...bins.map((bin) => (heaviest === undefined ? 0 : bin.share(heaviest))),
  )
  return largest + tolerancePart * mean
}

function balance(bins: readonly Bin[], itemCount: number, tolerance: number): void {
  // Each move brings two nodes nearer; the bound is only there so that a defect does not become an endless loop.
  for (let moves = 0; moves < itemCount * bins.length; moves += 1) {
    const sorted = [...bins].sort((a, b) => a.level - b.level || (a.id < b.id ? -1 : 1))
    const emptiest = sorted[0]
    const fullest = sorted.at(-1)
    if (emptiest === undefined || fullest === undefined) return
    if (fullest.level - emptiest.level <= tolerance) return
    const moving = bestMove(fullest, emptiest)
    if (moving === undefined) return
    fullest.remove(moving)
    emptiest.add(moving)
  }
}

/** What the emptier node has at hand, then what it has less of than the fuller one; of these the heaviest. */
function bestMove(fullest: Bin, emptiest: Bin): Item | undefined {
  const gap = fullest.level - emptiest.level
  let best: Item | undefined
  let bestRank = -1
  for (const item of fullest.items) {
    if (item.load <= 0 || emptiest.items.has(item)) continue
    if (fullest.share(item) + emptiest.share(item) > gap) continue
    const isNear = item.near?.includes(emptiest.id) === true
    const isFuller = fullest.groupLevel(item.group) > emptiest.groupLevel(item.group)
    const rank = Number(isNear) * 2 + Number(isFuller)
    if (rank < bestRank || (rank === bestRank && !isHeavier(item, best))) continue
    best = item
    bestRank = rank
  }
  return best
}

function isHeavier(item: Item, than: Item | undefined): boolean {
  if (than === undefined) return true
  return item.load > than.load || (item.load === than.load && item.key < than.key)
}

/**
 * Places items on nodes, moving as little as it can: pure, and the same for the same problem.
 *
 * 1. What lies on a node that still is stays there. 2. What is missing goes to the node with the least load for its capacity,
 * the heaviest item first. 3. While the fullest and the emptiest node differ by more than the tolerance, an item moves between
 * them, the largest that brings them nearer.
 *
 * The tolerance is the largest item plus a tenth of the mean: so 2 alone never makes 3 necessary, nothing moves when nothing
 * has changed, and when a node dies only what it held moves.
 */
import type {
  Item,
  NodeCapacity,
  Placement,
  PlacementProblem,
} from '#nodes/coordinator/assignment/problem.js'

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
  balance(bins, heaviestFirst)
  return new Map(
    items.map((item) => [item.key, bins.filter((bin) => bin.items.has(item)).map(({ id }) => id)]),
  )
}

class Bin {
  readonly id: string
  readonly items = new Set<Item>()
  readonly #capacity: number
  #load = 0

  constructor({ id, capacity }: NodeCapacity) {
    this.id = id
    this.#capacity = capacity
  }

  /** Load for the capacity. */
  get level(): number {
    return this.#load / this.#capacity
  }

  share(item: Item): number {
    return item.load / this.#capacity
  }

  add(item: Item): void {
    this.items.add(item)
    this.#load += item.load
  }

  remove(item: Item): void {
    this.items.delete(item)
    this.#load -= item.load
  }
}

/** No more than are wanted: those on the emptiest nodes, for want of a better reason. */
function keep(bins: readonly Bin[], item: Item, last: readonly string[]): void {
  const present = bins.filter(({ id }) => last.includes(id))
  for (const bin of byLevel(present).slice(0, item.replicaCount)) bin.add(item)
}

function fill(bins: readonly Bin[], item: Item): void {
  let missing = item.replicaCount - bins.filter(({ items }) => items.has(item)).length
  for (const bin of byLevelWith(bins, item)) {
    if (missing <= 0) return
    if (bin.items.has(item)) continue
    bin.add(item)
    missing -= 1
  }
}

function balance(bins: readonly Bin[], heaviestFirst: readonly Item[]): void {
  const mean = bins.reduce((sum, { level }) => sum + level, 0) / bins.length
  const largest = Math.max(
    0,
    ...bins.flatMap((bin) => heaviestFirst.slice(0, 1).map((item) => bin.share(item))),
  )
  const tolerance = largest + tolerancePart * mean
  // Each move brings two nodes nearer; the bound is only there so that a defect does not become an endless loop.
  for (let moves = 0; moves < heaviestFirst.length * bins.length; moves += 1) {
    const sorted = byLevel(bins)
    const emptiest = sorted[0]
    const fullest = sorted.at(-1)
    if (emptiest === undefined || fullest === undefined) return
    const gap = fullest.level - emptiest.level
    if (gap <= tolerance) return
    const moving = heaviestFirst.find(
      (item) =>
        item.load > 0 &&
        fullest.items.has(item) &&
        !emptiest.items.has(item) &&
        fullest.share(item) + emptiest.share(item) <= gap,
    )
    if (moving === undefined) return
    fullest.remove(moving)
    emptiest.add(moving)
  }
}

function byLevel(bins: readonly Bin[]): Bin[] {
  return [...bins].sort((a, b) => a.level - b.level || (a.id < b.id ? -1 : 1))
}

/** By the level that each would have with the item. */
function byLevelWith(bins: readonly Bin[], item: Item): Bin[] {
  const after = (bin: Bin) => bin.level + bin.share(item)
  return [...bins].sort((a, b) => after(a) - after(b) || (a.id < b.id ? -1 : 1))
}

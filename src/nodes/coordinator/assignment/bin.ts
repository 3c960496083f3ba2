/** A node while the solver fills it. */
import type { Item, NodeCapacity } from '#nodes/coordinator/assignment/problem.js'

export class Bin {
  readonly id: string
  readonly items = new Set<Item>()
  readonly #capacity: number
  readonly #groups = new Map<string, number>()
  #load = 0

  constructor({ id, capacity }: NodeCapacity) {
    this.id = id
    this.#capacity = capacity
  }

  /** Load for the capacity. */
  get level(): number {
    return this.#load / this.#capacity
  }

  /** As level, of one group. */
  groupLevel(group: string | undefined): number {
    return group === undefined ? 0 : (this.#groups.get(group) ?? 0) / this.#capacity
  }

  share(item: Item): number {
    return item.load / this.#capacity
  }

  add(item: Item): void {
    this.items.add(item)
    this.#change(item, item.load)
  }

  remove(item: Item): void {
    this.items.delete(item)
    this.#change(item, -item.load)
  }

  #change({ group }: Item, load: number): void {
    this.#load += load
    if (group !== undefined) this.#groups.set(group, (this.#groups.get(group) ?? 0) + load)
  }
}

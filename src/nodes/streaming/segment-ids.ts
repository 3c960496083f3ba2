/** Segment ids leased ahead, so that a growing segment can begin in the middle of a plain function. */
import { invariant } from '#base/errors.js'
import type { Coordinator } from '#nodes/coordinator/contract.js'

const leaseCount = 64

export class SegmentIds {
  readonly #coordinator: Coordinator
  readonly #ids: number[] = []

  constructor(coordinator: Coordinator) {
    this.#coordinator = coordinator
  }

  /** True if that many can be taken without waiting. */
  has(count: number): boolean {
    return this.#ids.length >= count
  }

  async ensure(count: number): Promise<void> {
    while (!this.has(count)) {
      this.#ids.push(...(await this.#coordinator.allocateSegmentIds(Math.max(leaseCount, count))))
    }
  }

  take(): number {
    const id = this.#ids.shift()
    invariant('SEG-7', id !== undefined, 'no segment id was leased ahead')
    return id
  }
}

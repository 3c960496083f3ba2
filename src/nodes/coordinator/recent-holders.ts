/** Query nodes that held a segment before: its objects may still be in their local cache. */
const nodeCountMax = 3

export class RecentHolders {
  readonly #holders = new Map<number, readonly string[]>()

  of(segmentId: number): readonly string[] {
    return this.#holders.get(segmentId) ?? []
  }

  /** Where segments are no more; of those that are gone nothing is remembered. */
  note(
    before: ReadonlyMap<number, readonly string[]>,
    after: ReadonlyMap<number, readonly string[]>,
  ): void {
    for (const [segmentId, was] of before) {
      const is = after.get(segmentId)
      if (is === undefined) {
        this.#holders.delete(segmentId)
        continue
      }
      const left = was.filter((id) => !is.includes(id))
      if (left.length === 0) continue
      const all = [...new Set([...left, ...this.of(segmentId)])]
      this.#holders.set(segmentId, all.slice(0, nodeCountMax))
    }
  }
}

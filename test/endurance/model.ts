/** What was acknowledged, and what a read may therefore see. One event loop writes and reads: no locks. */

export interface Row {
  readonly id: number
  readonly version: number
}

/** A read under way: rows that a statement touches meanwhile may be seen before or after it. */
export interface Watch {
  /** id → version, as the read begins. */
  readonly expected: ReadonlyMap<number, number>
  readonly touched: Set<number>
}

export class Model {
  readonly #versions = new Map<number, number>()
  readonly #changing = new Map<number, number>()
  readonly #watches = new Set<Watch>()
  nextId = 0

  get size(): number {
    return this.#versions.size
  }

  ids(): readonly number[] {
    return [...this.#versions.keys()]
  }

  /** @param after version by id once it is acknowledged; undefined: deleted */
  async change(
    after: ReadonlyMap<number, number | undefined>,
    statement: () => Promise<unknown>,
  ): Promise<void> {
    for (const id of after.keys()) {
      this.#changing.set(id, (this.#changing.get(id) ?? 0) + 1)
      for (const watch of this.#watches) watch.touched.add(id)
    }
    await statement()
    for (const [id, version] of after) {
      if (version === undefined) this.#versions.delete(id)
      else this.#versions.set(id, version)
      const left = (this.#changing.get(id) ?? 1) - 1
      if (left === 0) this.#changing.delete(id)
      else this.#changing.set(id, left)
    }
  }

  version(id: number): number {
    return this.#versions.get(id) ?? 0
  }

  watch(): Watch {
    const watch = { expected: new Map(this.#versions), touched: new Set(this.#changing.keys()) }
    this.#watches.add(watch)
    return watch
  }

  release(watch: Watch): void {
    this.#watches.delete(watch)
  }
}

/**
 * @param ids that the read asked for; undefined: all
 * @throws Error naming the row: twice, missing, unknown or of another version
 */
export function judge(
  what: string,
  rows: readonly Row[],
  { expected, touched }: Watch,
  ids?: readonly number[],
): void {
  const seen = new Map<number, number>()
  for (const { id, version } of rows) {
    if (seen.has(id)) throw new Error(`${what}: row ${id} comes twice`)
    seen.set(id, version)
  }
  for (const [id, version] of seen) {
    if (touched.has(id) || expected.get(id) === version) continue
    throw new Error(`${what}: row ${id} is of version ${version}, not ${expected.get(id)}`)
  }
  for (const id of ids ?? expected.keys()) {
    if (!expected.has(id) || seen.has(id) || touched.has(id)) continue
    throw new Error(`${what}: row ${id} is missing`)
  }
}

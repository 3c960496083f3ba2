/** What one client knows of the rows that are its own. */

export type TableName = 'a' | 'b'

/** id → version the row gets; undefined: it goes. */
export type Changes = Readonly<Record<TableName, ReadonlyMap<number, number | undefined>>>

export function changes(
  a: Iterable<readonly [number, number | undefined]>,
  b: Iterable<readonly [number, number | undefined]> = [],
): Changes {
  return { a: new Map(a), b: new Map(b) }
}

export class Model {
  /** id → version of what is acknowledged. */
  readonly rows: Readonly<Record<TableName, Map<number, number>>> = { a: new Map(), b: new Map() }
  /** Asked for, and not known to have happened or not. */
  pending: Changes | undefined

  apply(done: Changes): void {
    for (const table of ['a', 'b'] as const) {
      for (const [id, version] of done[table]) {
        if (version === undefined) this.rows[table].delete(id)
        else this.rows[table].set(id, version)
      }
    }
  }

  /**
   * Compares with the rows found, which must be as acknowledged, or as if what was pending had happened as a whole.
   * What was pending is then settled.
   * @returns what is wrong
   */
  settle(found: Readonly<Record<TableName, ReadonlyMap<number, number>>>): string | undefined {
    const before = this.#difference(found)
    if (before === undefined) {
      this.pending = undefined
      return undefined
    }
    if (this.pending === undefined) return before
    const kept = { a: new Map(this.rows.a), b: new Map(this.rows.b) }
    const { pending } = this
    this.apply(pending)
    this.pending = undefined
    const after = this.#difference(found)
    if (after === undefined) return undefined
    this.rows.a.clear()
    this.rows.b.clear()
    for (const table of ['a', 'b'] as const)
      for (const [id, version] of kept[table]) this.rows[table].set(id, version)
    const size = pending.a.size + pending.b.size
    return `neither without (${before}) nor with (${after}) the ${size} unacknowledged changes`
  }

  #difference(found: Readonly<Record<TableName, ReadonlyMap<number, number>>>): string | undefined {
    const wrong: string[] = []
    for (const table of ['a', 'b'] as const) {
      for (const [id, version] of this.rows[table]) {
        const there = found[table].get(id)
        if (there === undefined) wrong.push(`${table} ${id} is lost`)
        else if (there !== version)
          wrong.push(`${table} ${id} has version ${there}, not ${version}`)
      }
      for (const [id, version] of found[table]) {
        if (!this.rows[table].has(id))
          wrong.push(`${table} ${id} (version ${version}) should not be there`)
      }
    }
    if (wrong.length === 0) return undefined
    return wrong.length <= 5
      ? wrong.join('; ')
      : `${wrong.slice(0, 5).join('; ')} and ${wrong.length - 5} more`
  }
}

/** Names of tables in an instance, and the leaves of partitioned ones; remembered until DDL. */
import type { Embedded } from '#postgres/embedded.js'

interface Known {
  /** 'schema.table', quoted. */
  readonly name: string
  /** The table itself, or its leaf partitions; none of a view, which has no rows. */
  readonly leaves: readonly number[]
}

export class TableNames {
  readonly #embedded: Embedded
  readonly #known = new Map<number, Known>()

  constructor(embedded: Embedded) {
    this.#embedded = embedded
  }

  forget(): void {
    this.#known.clear()
  }

  /** Undefined: there is no such table. */
  nameOf(oid: number): string | undefined {
    this.#learn([oid])
    return this.#known.get(oid)?.name
  }

  /** Each table once, partitioned ones replaced by their leaves. */
  leavesOf(oids: readonly number[]): number[] {
    this.#learn(oids)
    const leaves = [...new Set(oids.flatMap((oid) => this.#known.get(oid)?.leaves ?? []))]
    this.#learn(leaves)
    return leaves
  }

  #learn(oids: readonly number[]): void {
    const unknown = oids.filter((oid) => !this.#known.has(oid))
    if (unknown.length === 0) return
    const rows = this.#embedded.column(
      `SELECT concat_ws(' ', c.oid::int8, coalesce(CASE relkind WHEN 'r' THEN c.oid::int8::text
           WHEN 'p' THEN (SELECT string_agg(relid::oid::int8::text, ',') FROM pg_partition_tree(c.oid) WHERE isleaf) END, '-'),
         format('%I.%I', nspname, relname))
       FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid IN (${unknown.join(', ')})`,
    )
    for (const row of rows) {
      const [oid = '', leaves = '', ...name] = (row ?? '').split(' ')
      this.#known.set(Number(oid), {
        name: name.join(' '),
        leaves: leaves === '-' ? [] : leaves.split(',').map(Number),
      })
    }
  }
}

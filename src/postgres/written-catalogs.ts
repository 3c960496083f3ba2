/** Which system tables the open transaction has written, by PostgreSQL's own counters. */
import type { Embedded } from '#postgres/embedded.js'

export interface WrittenCatalog {
  readonly name: string
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
}

export class WrittenCatalogs {
  readonly #embedded: Embedded
  #query: string | undefined

  constructor(embedded: Embedded) {
    this.#embedded = embedded
  }

  /** Before a transaction: what others have written is counted no more. */
  begin(): void {
    this.#embedded.run('SELECT pg_stat_force_next_flush()')
  }

  /** Also what was rolled back to a savepoint. In a transaction that has not failed. */
  read(): WrittenCatalog[] {
    this.#query ??= this.#makeQuery()
    return this.#embedded.column(this.#query).map((row) => {
      const [name = '', inserted, updated, deleted] = (row ?? '').split(' ')
      return {
        name,
        inserted: Number(inserted),
        updated: Number(updated),
        deleted: Number(deleted),
      }
    })
  }

  /** The view pg_stat_xact_sys_tables looks at every relation there is. */
  #makeQuery(): string {
    const catalogs = this.#embedded.column(
      `SELECT format('(%s::oid, %L)', oid::int8, relname) FROM pg_class
       WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'`,
    )
    return `SELECT concat_ws(' ', name, i, u, d) FROM (VALUES ${catalogs.join(', ')}) c (oid, name),
      LATERAL (SELECT pg_stat_get_xact_tuples_inserted(c.oid) AS i, pg_stat_get_xact_tuples_updated(c.oid) AS u,
        pg_stat_get_xact_tuples_deleted(c.oid) AS d) n WHERE i + u + d > 0`
  }
}

/**
 * What rolled-back DDL leaves behind and DDL would trip over: PostgreSQL takes the next OID for which there is no row,
 * not even a dead one, and the next file number for which there is no file, not even one waiting to be unlinked. Both
 * must be gone before the same step runs again, or it gets other OIDs than on other instances.
 */
import type { Embedded } from '#postgres/embedded.js'
import type { WrittenCatalogs } from '#postgres/written-catalogs.js'

/** System tables whose rows have an OID of their own. */
const catalogsWithOid = [
  'pg_am',
  'pg_amop',
  'pg_amproc',
  'pg_attrdef',
  'pg_authid',
  'pg_cast',
  'pg_class',
  'pg_collation',
  'pg_constraint',
  'pg_conversion',
  'pg_default_acl',
  'pg_enum',
  'pg_event_trigger',
  'pg_extension',
  'pg_foreign_data_wrapper',
  'pg_foreign_server',
  'pg_language',
  'pg_namespace',
  'pg_opclass',
  'pg_operator',
  'pg_opfamily',
  'pg_policy',
  'pg_proc',
  'pg_publication',
  'pg_publication_namespace',
  'pg_publication_rel',
  'pg_rewrite',
  'pg_statistic_ext',
  'pg_transform',
  'pg_trigger',
  'pg_ts_config',
  'pg_ts_dict',
  'pg_ts_parser',
  'pg_ts_template',
  'pg_type',
  'pg_user_mapping',
] as const
const withOid: ReadonlySet<string> = new Set(catalogsWithOid)
// Written by every DDL statement; their dead rows are in nobody's way, only in the scans'.
const othersToClean = ['pg_attribute', 'pg_depend', 'pg_index', 'pg_shdepend', 'pg_description']
const trialsBetweenOthers = 100

export class TrialTraces {
  readonly #embedded: Embedded
  readonly #written: WrittenCatalogs
  readonly #catalogs = new Set<string>()
  #files = false
  #trials = 0

  constructor(embedded: Embedded, written: WrittenCatalogs) {
    this.#embedded = embedded
    this.#written = written
  }

  /** In the transaction, before it is rolled back. `failed`: it answers no questions any more. */
  note(failed: boolean): void {
    this.#files = true
    this.#trials += 1
    const written = failed
      ? catalogsWithOid
      : this.#written
          .read()
          .filter(({ inserted }) => inserted > 0)
          .map(({ name }) => name)
    for (const name of written) if (withOid.has(name)) this.#catalogs.add(name)
  }

  /** Files only: a rolled-back REINDEX. */
  noteFiles(): void {
    this.#files = true
  }

  /** Outside a transaction, before DDL. */
  clean(): void {
    if (this.#files) this.#embedded.run('CHECKPOINT')
    this.#files = false
    const tables = [...this.#catalogs]
    this.#catalogs.clear()
    if (this.#trials >= trialsBetweenOthers) {
      this.#trials = 0
      tables.push(...othersToClean)
    }
    if (tables.length > 0) {
      const names = tables.map((name) => `pg_catalog.${name}`)
      this.#embedded.run(`VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) ${names.join(', ')}`)
    }
  }
}

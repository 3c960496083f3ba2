/**
 * What the open transaction has changed of the catalog, so that a DDL statement need not read all of it (0.1 ms a table).
 *
 * An instance runs one transaction at a time: rows of system tables that it has made have an xmin no older than its own
 * transaction id. Which tables (of users) such rows belong to is known; these are read whole, with all that hangs on them. It is
 * enough only if nothing was deleted, whose traces nobody sees, and nothing was written on which the text of other tables'
 * expressions depends (names of functions, types, schemas). Otherwise undefined: the whole catalog must be read, which judges
 * this in catalog-change.test.ts.
 */
import type { Embedded } from '#postgres/embedded.js'
import type { WrittenCatalog } from '#postgres/written-catalogs.js'

export interface ChangedObjects {
  readonly tables: readonly number[]
  readonly types: readonly number[]
  readonly sequences: readonly number[]
}

type Allowed = 'inserts' | 'inserts and updates' | 'all'

/** What may be written of a system table; nothing of others. */
const allowed: ReadonlyMap<string, Allowed> = new Map([
  ['pg_class', 'inserts and updates'],
  ['pg_attribute', 'inserts and updates'],
  ['pg_index', 'inserts and updates'],
  ['pg_constraint', 'inserts and updates'],
  ['pg_attrdef', 'inserts and updates'],
  ['pg_trigger', 'inserts and updates'],
  ['pg_inherits', 'inserts'],
  ['pg_partitioned_table', 'inserts'],
  ['pg_enum', 'inserts'],
  ['pg_sequence', 'inserts and updates'],
  ['pg_type', 'inserts'],
  ['pg_depend', 'inserts'],
  // Nothing of it is in the catalog that we read.
  ['pg_description', 'all'],
  ['pg_shdepend', 'all'],
  ['pg_shdescription', 'all'],
  ['pg_init_privs', 'all'],
  ['pg_rewrite', 'all'],
  ['pg_policy', 'all'],
  ['pg_statistic', 'all'],
  ['pg_default_acl', 'all'],
  ['pg_auth_members', 'all'],
])

/** In the transaction, as superuser. */
export function findChange(
  embedded: Embedded,
  written: readonly WrittenCatalog[],
): ChangedObjects | undefined {
  if (!written.every(isAllowed)) return undefined
  const names = new Set(written.map(({ name }) => name))
  const parts = [guards, ...sources.filter(([name]) => names.has(name)).map(([, sql]) => sql)]
  const found = embedded.column(parts.join('\nUNION ALL '))
  const tables = new Set<number>()
  const types: number[] = []
  const sequences: number[] = []
  for (const row of found) {
    const [kind = '', oid = ''] = (row ?? '').split(' ')
    if (kind === 'whole') return undefined
    if (kind === 'type') types.push(Number(oid))
    else if (kind === 'sequence') sequences.push(Number(oid))
    else if (oid !== '0') tables.add(Number(oid))
  }
  const [first] = tables
  if (first === undefined) return { tables: [], types, sequences }
  // A partitioned table knows its leaves: all of a tree go together.
  const related = embedded.column(
    `SELECT DISTINCT t.relid::oid::int8::text FROM pg_class c, pg_partition_tree(pg_partition_root(c.oid)) t
     WHERE c.oid IN (${[...tables].join(', ')}) AND (c.relispartition OR c.relkind = 'p')`,
  )
  for (const oid of related) tables.add(Number(oid))
  return { tables: [...tables], types, sequences }
}

function isAllowed({ name, updated, deleted }: WrittenCatalog): boolean {
  const what = allowed.get(name)
  if (what === 'all') return true
  return what !== undefined && deleted === 0 && (what === 'inserts and updates' || updated === 0)
}

/** Of a subtransaction it is negative. */
const isOurs = (row: string): string => `age(${row}.xmin) <= 0`

/**
 * With a schema of the superuser's name, which is before public on the search path, a new name may hide an old one and change
 * how others are printed.
 */
const guards = `SELECT 'whole' FROM pg_namespace WHERE nspname = 'postgres'`

/** Not renamed, say, which columns' defaults would show: then it depends on its schema since this transaction. */
const isMadeByUs = (relation: string): string =>
  `EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = ${relation}.oid AND d.refclassid = 2615 AND ${isOurs('d')})`

/** 'kind OID', by the system table that was written. */
const sources: readonly (readonly [string, string])[] = [
  [
    'pg_class',
    `SELECT CASE c.relkind
         WHEN 'i' THEN 'table ' || (SELECT indrelid::int8 FROM pg_index WHERE indexrelid = c.oid)
         WHEN 'I' THEN 'table ' || (SELECT indrelid::int8 FROM pg_index WHERE indexrelid = c.oid)
         WHEN 'S' THEN CASE WHEN ${isMadeByUs('c')} THEN 'sequence ' || c.oid::int8 ELSE 'whole' END
         ELSE 'table ' || c.oid::int8 END
     FROM pg_class c WHERE ${isOurs('c')} AND c.relkind IN ('r', 'p', 'm', 'i', 'I', 'S')`,
  ],
  [
    'pg_attribute',
    `SELECT DISTINCT 'table ' || attrelid::int8 FROM pg_attribute a WHERE ${isOurs('a')}`,
  ],
  ['pg_index', `SELECT 'table ' || indrelid::int8 FROM pg_index i WHERE ${isOurs('i')}`],
  [
    'pg_constraint',
    `SELECT 'table ' || unnest(ARRAY[conrelid::int8, confrelid::int8]) FROM pg_constraint k WHERE ${isOurs('k')}`,
  ],
  ['pg_attrdef', `SELECT 'table ' || adrelid::int8 FROM pg_attrdef d WHERE ${isOurs('d')}`],
  ['pg_trigger', `SELECT 'table ' || tgrelid::int8 FROM pg_trigger g WHERE ${isOurs('g')}`],
  [
    'pg_inherits',
    `SELECT 'table ' || unnest(ARRAY[inhrelid::int8, inhparent::int8]) FROM pg_inherits h WHERE ${isOurs('h')}`,
  ],
  ['pg_sequence', `SELECT 'sequence ' || seqrelid::int8 FROM pg_sequence s WHERE ${isOurs('s')}`],
  ['pg_type', `SELECT 'type ' || oid::int8 FROM pg_type t WHERE ${isOurs('t')}`],
  [
    'pg_depend',
    `SELECT 'table ' || refobjid::int8 FROM pg_depend d
     WHERE ${isOurs('d')} AND classid = 1259 AND refclassid = 1259 AND refobjsubid > 0 AND deptype IN ('a', 'i')`,
  ],
]

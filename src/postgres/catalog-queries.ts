/**
 * Everything a CatalogSnapshot is made of, in one query that returns one JSON text. Rows are arrays in the order of the
 * fields of Raw…; OIDs are numbers, 64-bit values texts.
 */

import { BackendType } from '#net/pgwire/backend.js'
import { BackendMessages, parseDataRow } from '#net/pgwire/backend-parse.js'
import type { ChangedObjects } from '#postgres/catalog-change.js'
import type { Embedded } from '#postgres/embedded.js'
import { throwFirstError } from '#postgres/embedded.js'
import type { RawCatalog } from '#postgres/jobs.js'
import { extendedMessages, ownCopy } from '#postgres/messages.js'

/** [oid, schema, name, relkind, parent, owner, row security, reloptions, file, triggers, checks] */
export type RawTable = readonly [
  number,
  string,
  string,
  string,
  number,
  string,
  boolean,
  readonly string[] | null,
  number,
  boolean,
  boolean,
]
/** [table, attnum, name, type, typmod, not null, has missing, generated, identity, default, sequence] */
export type RawColumn = readonly [
  number,
  number,
  string,
  number,
  number,
  boolean,
  boolean,
  string,
  string,
  string | null,
  number,
]
/** [table, name, index, attnums, primary, nulls not distinct] */
export type RawKey = readonly [number, string, number, readonly number[], boolean, boolean]
/** [table, index, name, attnum (0: expression), definition of the first column, operator class, reloptions] */
export type RawVectorIndex = readonly [
  number,
  number,
  string,
  number,
  string,
  string,
  readonly string[] | null,
]
/** [constraint, name, table, attnums, referenced table, referenced attnums, MATCH FULL, INITIALLY DEFERRED] */
export type RawForeignKey = readonly [
  number,
  string,
  number,
  readonly number[],
  number,
  readonly number[],
  boolean,
  boolean,
]
/** [oid, schema, name, start, increment, min, max, cycle] */
export type RawSequence = readonly [number, string, string, string, string, string, string, boolean]
/** [oid, name, base type (0: no domain), typmod of the base] */
export type RawType = readonly [number, string, number, number]
/** [oid, name, superuser, can log in] */
export type RawRole = readonly [number, string, boolean, boolean]

/** [table, name, index, column numbers (0: an expression), expressions, condition, nulls not distinct] */
export type RawConditionalKey = readonly [
  number,
  string,
  number,
  readonly number[],
  readonly string[],
  string | null,
  boolean,
]

/**
 * What sql/ makes has OIDs from 16384 on and may grow; those of users' objects are in the DDL log for good. So they begin
 * where the two never meet.
 */
export const firstUserOid = 65_536

export interface RawCatalogContent {
  readonly tables: readonly RawTable[]
  readonly columns: readonly RawColumn[]
  readonly keys: readonly RawKey[]
  readonly conditionalKeys: readonly RawConditionalKey[]
  readonly vectorIndexes: readonly RawVectorIndex[]
  readonly foreignKeys: readonly RawForeignKey[]
  readonly sequences: readonly RawSequence[]
  readonly types: readonly RawType[]
  /** Not in a change. */
  readonly functions?: readonly (readonly [name: string, isVolatile: boolean])[]
  /** Not in a change. */
  readonly roles?: readonly RawRole[]
}

// Those of temporary tables and our own hold nothing of the user's, but for schema elanus: a role of that name has its tables there,
// since the search path begins with "$user". What we ship is older than any table of a user.
const isUsers = (oid: string): string =>
  `nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'elanus_load')
  AND nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast\\_temp%'
  AND (nspname <> 'elanus' OR ${oid} >= ${firstUserOid})`

const list = (columns: string, from: string): string =>
  `(SELECT coalesce(json_agg(json_build_array(${columns})), '[]') FROM ${from})`
const numbers = (vector: string): string =>
  `(SELECT coalesce(json_agg(a), '[]') FROM unnest(${vector}) a)`

/** '' or a condition that the OID is one of the list. */
const isOneOf = (oid: string, oids: readonly number[] | undefined): string =>
  oids === undefined ? '' : `AND ${oid} IN (${[0, ...oids].join(', ')})`

/** @param change undefined: of all */
const queryOf = (change: ChangedObjects | undefined): string => `
WITH rel AS MATERIALIZED (
  SELECT n.nspname, c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND ${isUsers('c.oid')}
  ${isOneOf('c.oid', change?.tables)}
)
SELECT json_build_object(
'tables', ${list(
  `r.oid::int8, r.nspname, r.relname, r.relkind, coalesce((SELECT i.inhparent::int8 FROM pg_inherits i WHERE r.relispartition AND i.inhrelid = r.oid), 0),
   pg_get_userbyid(r.relowner), r.relrowsecurity, to_json(r.reloptions), r.relfilenode::int8,
   r.relhastriggers AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = r.oid AND NOT g.tgisinternal),
   r.relchecks > 0`,
  'rel r',
)},
'columns', ${list(
  `a.attrelid::int8, a.attnum, a.attname, a.atttypid::int8, a.atttypmod, a.attnotnull, a.atthasmissing, a.attgenerated, a.attidentity,
   CASE WHEN a.atthasdef THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum) END,
   coalesce(o.objid::int8, 0)`,
  `(SELECT a.* FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY a.attrelid, a.attnum) a
   LEFT JOIN (SELECT d.refobjid, d.refobjsubid, min(d.objid) AS objid FROM pg_depend d JOIN pg_sequence q ON q.seqrelid = d.objid
      WHERE d.classid = 1259 AND d.refclassid = 1259 AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
        ${isOneOf('d.refobjid', change?.tables)} GROUP BY 1, 2) o
     ON o.refobjid = a.attrelid AND o.refobjsubid = a.attnum`,
)},
'keys', ${list(
  `i.indrelid::int8, c.relname, i.indexrelid::int8, ${numbers('(i.indkey::int2[])[0:i.indnkeyatts - 1]')}, i.indisprimary, i.indnullsnotdistinct`,
  `pg_index i JOIN rel r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
   WHERE i.indisunique AND i.indexprs IS NULL AND i.indpred IS NULL`,
)},
'conditionalKeys', ${list(
  `i.indrelid::int8, c.relname, i.indexrelid::int8, ${numbers('(i.indkey::int2[])[0:i.indnkeyatts - 1]')},
   (SELECT json_agg(pg_get_indexdef(i.indexrelid, k, false) ORDER BY k) FROM generate_series(1, i.indnkeyatts) k),
   pg_get_expr(i.indpred, i.indrelid), i.indnullsnotdistinct`,
  `pg_index i JOIN rel r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
   WHERE i.indisunique AND r.relkind <> 'p' AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)`,
)},
'vectorIndexes', ${list(
  `i.indrelid::int8, i.indexrelid::int8, c.relname, i.indkey[0], pg_get_indexdef(i.indexrelid, 1, true), o.opcname, to_json(c.reloptions)`,
  `pg_index i JOIN rel r ON r.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
   JOIN pg_am m ON m.oid = c.relam JOIN pg_opclass o ON o.oid = i.indclass[0]
   WHERE m.amname IN ('hnsw', 'ivfflat') AND o.opcname LIKE 'vector%'`,
)},
'foreignKeys', ${list(
  `k.oid::int8, k.conname, k.conrelid::int8, ${numbers('k.conkey')}, k.confrelid::int8, ${numbers('k.confkey')}, k.confmatchtype = 'f', k.condeferred`,
  change === undefined
    ? `pg_constraint k JOIN rel r ON r.oid = k.conrelid WHERE k.contype = 'f'`
    : `pg_constraint k WHERE k.contype = 'f' AND (k.conrelid IN (SELECT oid FROM rel) OR k.confrelid IN (SELECT oid FROM rel))`,
)},
'sequences', ${list(
  `s.seqrelid::int8, n.nspname, c.relname, s.seqstart::text, s.seqincrement::text, s.seqmin::text, s.seqmax::text, s.seqcycle`,
  `pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relpersistence <> 't' AND ${isUsers('c.oid')} ${isOneOf('c.oid', change?.sequences)}`,
)},
'types', ${list(
  `t.oid::int8, t.typname, t.typbasetype::int8, t.typtypmod`,
  `pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
   LEFT JOIN pg_class ec ON ec.oid = e.typrelid
   WHERE coalesce(c.relkind, 'c') = 'c' AND coalesce(ec.relkind, 'c') = 'c' ${isOneOf('t.oid', change?.types)}`,
)}${
  change === undefined
    ? `,
'functions', ${list(
        `p.proname, p.provolatile = 'v'`,
        `pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384 AND p.provolatile <> 'i'
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND ${isUsers('p.oid')}
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'e')`,
      )},
'roles', ${list('r.oid::int8, r.rolname, r.rolsuper, r.rolcanlogin', 'pg_roles r')}`
    : ''
}
)::text`
const wholeQuery = queryOf(undefined)

/** As superuser, in a transaction or not. @param change what to read; undefined: everything */
export function readCatalog(embedded: Embedded, change?: ChangedObjects): RawCatalog {
  const query = change === undefined ? wholeQuery : queryOf(change)
  const json = embedded.column(query)[0] ?? '{}'
  const { columns } = JSON.parse(json) as RawCatalogContent
  const missing: [number, number, Uint8Array][] = []
  for (const column of columns) {
    if (!column[6]) continue
    const value = readMissing(embedded, column[0], column[1])
    if (value !== undefined) missing.push([column[0], column[1], value])
  }
  return { json, missing, isChange: change !== undefined }
}

/** attmissingval is an array of any type with one element: its text, cast to the column's array type. */
function readMissing(embedded: Embedded, table: number, attnum: number): Uint8Array | undefined {
  const [type, text] = embedded.column(
    `SELECT unnest(ARRAY[format_type(t.typarray, NULL), quote_literal(attmissingval::text)]) FROM pg_attribute
       JOIN pg_type t ON t.oid = atttypid WHERE attrelid = ${table} AND attnum = ${attnum}`,
  )
  if (type === undefined || type === null || text === undefined || text === null) return undefined
  const sql = `SELECT x FROM unnest(${text}::${type}) x`
  const answer = embedded.exchange(
    extendedMessages({
      sql,
      parameterTypes: [],
      parameters: [],
      parameterFormats: [],
      resultFormats: [1],
    }),
  )
  throwFirstError(answer)
  const messages = new BackendMessages(answer)
  while (messages.next()) {
    if (messages.type === BackendType.dataRow) {
      const value = parseDataRow(messages.payload())[0]
      return value === null || value === undefined ? undefined : ownCopy(value)
    }
  }
  return undefined
}

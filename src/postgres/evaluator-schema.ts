/** What differs between the schema of an evaluator and the catalog's: direct changes of system tables, no OIDs involved. */

const firstUserOid = 16384
/** RI_FKey_check_ins, RI_FKey_check_upd: pg_proc.dat. */
const foreignKeyChecks = '1644, 1645'

/**
 * Indexes that check nothing are not maintained (hnsw above all). Rows that refer to others are not checked: loaded rows
 * count as just inserted and their parents are not loaded; the write path asserts foreign keys where the rows are.
 * Actions on the referenced side (CASCADE, SET NULL, RESTRICT) stay.
 */
const makeEvaluator = `
  WITH i AS (
    UPDATE pg_index SET indislive = false
      WHERE NOT indisunique AND NOT indisexclusion AND indislive AND indexrelid >= ${firstUserOid} RETURNING indrelid
  ), t AS (
    UPDATE pg_trigger SET tgenabled = 'D' WHERE tgfoid IN (${foreignKeyChecks}) AND tgenabled <> 'D' RETURNING tgrelid
  )
  UPDATE pg_class SET relname = relname WHERE oid IN (SELECT indrelid FROM i UNION SELECT tgrelid FROM t)`

const makeCatalog = `
  WITH i AS (
    UPDATE pg_index SET indislive = true WHERE NOT indislive AND indexrelid >= ${firstUserOid} RETURNING indrelid
  )
  UPDATE pg_class SET relname = relname WHERE oid IN (SELECT indrelid FROM i)`

/** DDL must see all indexes: LIKE and partitions copy them, and OIDs with them. */
export const beforeDdl = makeCatalog
export const afterDdl = makeEvaluator

/** Unique indexes of a table as 'schema.index', quoted. */
export function keyIndexesOf(tableOid: number): string {
  return `SELECT format('%I.%I', nspname, relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = relnamespace WHERE indrelid = ${tableOid} AND (indisunique OR indisexclusion)`
}

/**
 * Privileges on whole tables for the paths that PostgreSQL does not see (COPY, TRUNCATE, VACUUM): everything planned with
 * EXPLAIN is checked there, under the session's role.
 */
import { DatabaseError, notSupported, SqlState } from '#base/errors.js'
import { evaluateValues } from '#nodes/proxy/statements/evaluate.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TableInfo } from '#postgres/contract.js'

export type Privilege = 'SELECT' | 'INSERT' | 'TRUNCATE' | 'MAINTAIN'

/** @throws 42501 `permission denied for table t`; 0A000 when row security would have to be applied */
export async function checkPrivilege(
  execution: Execution,
  table: TableInfo,
  privilege: Privilege,
): Promise<void> {
  const { settings, catalog } = execution
  const { role, user } = settings.session()
  if (catalog.roles.get(role ?? user)?.superuser === true) return
  const [allowed] = await evaluateValues(
    execution,
    `SELECT pg_catalog.has_table_privilege(${table.oid}::oid, '${privilege}')`,
    [],
    false,
  )
  if (allowed?.[0] !== 1) {
    throw new DatabaseError(
      SqlState.insufficientPrivilege,
      `permission denied for table ${table.name}`,
    )
  }
  if (table.hasRowSecurity && privilege === 'SELECT') {
    throw notSupported(
      'COPY of a table with row-level security is not supported',
      'Use COPY (SELECT …) TO.',
    )
  }
}

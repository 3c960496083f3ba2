/**
 * Passwords in CREATE ROLE and ALTER ROLE: cut out of the statement before anything else sees it, so that neither the DDL
 * log nor an embedded instance ever holds one; kept as a SCRAM verifier with the commit.
 */
import { notSupported } from '#base/errors.js'
import { formatVerifier, makeVerifier, parseVerifier, saltBytes } from '#net/pgwire/scram.js'
import type { Execution } from '#nodes/proxy/statements/execution.js'
import type { TreeNode } from '#postgres/classify.js'

const clause = /\b(?:encrypted\s+)?password\s+(?:E?'(?:[^']|'')*'|null)/i

/** @returns the statement without its password, which is noted in the transaction */
export async function takePassword(execution: Execution, sql: string): Promise<string> {
  const { parsed, transaction, environment } = execution
  if (parsed.nodeTag !== 'CreateRoleStmt' && parsed.nodeTag !== 'AlterRoleStmt') return sql
  const options = (parsed.tree['options'] ?? []) as readonly { readonly DefElem?: TreeNode }[]
  const option = options.find((item) => item.DefElem?.['defname'] === 'password')?.DefElem
  if (option === undefined) return sql
  if (!clause.test(sql))
    throw notSupported('this form of PASSWORD is not supported', "Write PASSWORD 'secret'.")
  const role =
    parsed.nodeTag === 'CreateRoleStmt'
      ? String(parsed.tree['role'])
      : String(
          ((parsed.tree['role'] as TreeNode | undefined)?.['RoleSpec'] as TreeNode | undefined)?.[
            'rolename'
          ] ?? roleName(parsed.tree),
        )
  const given = ((option['arg'] as TreeNode | undefined)?.['String'] as TreeNode | undefined)?.[
    'sval'
  ]
  const verifier =
    typeof given !== 'string' || given === ''
      ? undefined
      : parseVerifier(given) !== undefined
        ? given
        : formatVerifier(await makeVerifier(given, environment.runtime.randomBytes(saltBytes)))
  transaction.passwords.set(role, verifier)
  return sql.replace(clause, '')
}

function roleName(tree: TreeNode): string {
  const role = tree['role'] as TreeNode | undefined
  return String(role?.['rolename'] ?? '')
}

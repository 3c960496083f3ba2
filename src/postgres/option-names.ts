/** Storage options of tables that are Elanus's, not PostgreSQL's: `WITH (shards = 4)`. Also anything named `elanus.x`. */
export const tableOptionNames: readonly string[] = ['shards', 'replicas', 'ttl', 'ttl_column']

export function isTableOption(name: string): boolean {
  return tableOptionNames.includes(name) || name.startsWith('elanus.')
}

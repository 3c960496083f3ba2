/**
 * Suites against a server that runs already, a proxy of a cluster say: ELANUS_TEST_SERVER=HOST:PORT. It is emptied for each suite
 * file that asks for a server, so those must run one after the other (vitest.config.ts sees to it). With HOST:PORT,HOST:PORT
 * the suites that want another proxy of the same database find it there; the others use the first.
 */
import pg from 'pg'

export interface SharedAddress {
  readonly host: string
  readonly port: number
}

export const sharedServers: readonly SharedAddress[] = (process.env['ELANUS_TEST_SERVER'] ?? '')
  .split(',')
  .filter((text) => text !== '')
  .map((text) => {
    const [, host, port] = /^(.+):(\d+)$/.exec(text.trim()) ?? []
    if (host === undefined) throw new Error(`ELANUS_TEST_SERVER: HOST:PORT, not ${text}`)
    return { host, port: Number(port) }
  })

/** For what a suite does to a server process: kill it, start it with other settings, look at its files. */
export const isServerShared = sharedServers.length > 0

/** As new: no tables, schemas, extensions, roles of anybody, and nobody connected but us. */
export async function emptyDatabase({ host, port }: SharedAddress): Promise<void> {
  const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' })
  await client.connect()
  const names = async (sql: string): Promise<string[]> =>
    (await client.query<{ name: string }>(sql)).rows.map(({ name }) => name)
  const schemas = await names(
    String.raw`SELECT quote_ident(nspname) AS name FROM pg_namespace
      WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'elanus')`,
  )
  for (const schema of schemas) await client.query(`DROP SCHEMA ${schema} CASCADE`)
  await client.query('CREATE SCHEMA public')
  await client.query('ALTER SCHEMA public OWNER TO pg_database_owner')
  await client.query('GRANT USAGE ON SCHEMA public TO PUBLIC')
  await client.query("COMMENT ON SCHEMA public IS 'standard public schema'")
  const roles = await names(
    String.raw`SELECT quote_ident(rolname) AS name FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'`,
  )
  for (const role of roles) await client.query(`DROP ROLE ${role}`)
  await client.end()
}

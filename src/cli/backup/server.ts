/** The server that is backed up or restored into, as the command line names it. */
import { Client } from 'pg'
import { type Flag, flagNumber, flagText, type GivenArguments } from '#cli/arguments.js'

export const serverFlags: Readonly<Record<string, Flag>> = {
  url: {
    placeholder: 'postgres://…',
    meaning: 'the server, instead of host, port and user; a password also from PGPASSWORD',
  },
  host: { placeholder: 'ADDRESS', meaning: 'where the server is (127.0.0.1)' },
  port: { placeholder: 'PORT', meaning: "the server's port (5432)" },
  user: { placeholder: 'NAME', meaning: 'a superuser (postgres)' },
  objects: {
    placeholder: 'URL',
    meaning: "the server's object store as reached from here, if not as the server names it",
  },
}

export async function connect(given: GivenArguments): Promise<Client> {
  const host = flagText(given, 'host') ?? '127.0.0.1'
  const port = flagNumber(given, 'port', 5432)
  const user = flagText(given, 'user') ?? 'postgres'
  const url = flagText(given, 'url')
  const client = new Client(
    url === undefined ? { host, port, user, database: 'postgres' } : { connectionString: url },
  )
  await client.connect()
  return client
}

/** CALL elanus.name(…). @returns its answer, as JSON says it */
export async function callServer(
  client: Client,
  name: string,
  ...args: readonly (string | number)[]
): Promise<unknown> {
  const list = args.map((arg) =>
    typeof arg === 'number' ? String(arg) : client.escapeLiteral(arg),
  )
  const { rows } = await client.query(`CALL elanus.${name}(${list.join(', ')})`)
  const text: unknown = rows[0]?.[name]
  return typeof text === 'string' ? JSON.parse(text) : undefined
}

/**
 * Statements that 14 clients really sent, captured on the wire: ../shared/corpus beside the checkout. Each client's run in
 * order on its own empty schema; those of the extended protocol with parameters are described, not executed.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'

const folder = fileURLToPath(new URL('../../../shared/corpus/', import.meta.url))
const files = existsSync(folder)
  ? readdirSync(folder).filter((name) => name.endsWith('.jsonl'))
  : undefined

interface Captured {
  readonly protocol: 'simple' | 'extended'
  readonly param_oids: readonly number[]
  readonly sql: string
}

/** Clients whose capture starts after the table was made. */
const prelude: Readonly<Record<string, string>> = {
  'jdbc.jsonl': itemsTable(),
  'pgdump.jsonl': itemsTable(),
}

/** psql 15 asks for what 17 has renamed: it fails in the same way on PostgreSQL itself. */
const knownTo18 = /daticulocale/

let server: TestServer | undefined

beforeAll(async () => {
  if (files !== undefined) server = await startServer()
})

afterAll(() => server?.stop())

test.for(files ?? ['corpus'])('%s', async (file, context) => {
  if (files === undefined || server === undefined)
    return context.skip('there is no ../shared/corpus')
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  await client.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE EXTENSION vector')
  if (prelude[file] !== undefined) await client.query(prelude[file])
  const [, ...lines] = readFileSync(`${folder}${file}`, 'utf8').trim().split('\n')
  const refused: string[] = []
  for (const line of lines) {
    const captured = JSON.parse(line) as Captured
    const { sql } = captured
    if (/^\s*COPY .*(STDIN|STDOUT)/is.test(sql) || knownTo18.test(sql)) continue
    try {
      await replay(client, captured)
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      if (/^(42|0A)/.test(error.code ?? '')) refused.push(`${error.code} ${error.message}: ${sql}`)
      await client.query('ROLLBACK')
    }
  }
  expect(refused).toEqual([])
  await client.end()
})

async function replay(client: pg.Client, { protocol, sql, param_oids }: Captured): Promise<void> {
  if (protocol === 'simple') {
    await client.query(sql)
    return
  }
  await describeOnly(client, sql, param_oids)
  if (!/\$\d/.test(sql)) await client.query({ text: sql, values: [] })
}

interface WireConnection {
  parse(message: { name: string; text: string; types: readonly number[] }): void
  describe(message: { type: 'S'; name: string }): void
  sync(): void
}

/** Parse, Describe, Sync: a query of our own making for node-postgres' queue. */
function describeOnly(client: pg.Client, sql: string, types: readonly number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const nothing = (): void => {}
    const query = {
      submit(connection: unknown): void {
        const wire = connection as WireConnection
        wire.parse({ name: '', text: sql, types })
        wire.describe({ type: 'S', name: '' })
        wire.sync()
      },
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handleCommandComplete: nothing,
      handleEmptyQuery: nothing,
      handleError: (error: Error) => reject(error),
      handleReadyForQuery: () => resolve(),
    }
    client.query(query as unknown as pg.Submittable)
  })
}

function itemsTable(): string {
  return `CREATE TABLE items (id bigserial PRIMARY KEY, cat int NOT NULL DEFAULT 1, meta jsonb, embedding vector(3));
    CREATE INDEX items_h ON items USING hnsw (embedding vector_l2_ops)`
}

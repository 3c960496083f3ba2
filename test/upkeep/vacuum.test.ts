import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { isServerShared } from '../shared-server.js'
import { bytesOnDisk, connect, copyRows } from './load.js'

const rowCount = 20_000
const dimensions = 64

let server: TestServer
let client: pg.Client
beforeAll(async () => {
  server = await startServer({ args: ['--seal-bytes', '2MB', '--retention', '1h'] })
  client = await connect(server)
  await client.query('CREATE EXTENSION vector')
})
afterAll(async () => {
  await client.end()
  await server.stop()
})

async function verbose(sql: string): Promise<string> {
  const messages: string[] = []
  const listener = ({
    severity,
    message,
  }: {
    severity: string | undefined
    message: string | undefined
  }): void => {
    messages.push(`${severity}: ${message}`)
  }
  client.on('notice', listener)
  try {
    await client.query(sql)
  } finally {
    client.off('notice', listener)
  }
  return messages.join('\n')
}

async function ids(table: string): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(`SELECT id FROM ${table} ORDER BY id`)
  return rows.map(({ id }) => id)
}

/** Of tables: the copy of the coordinator's keys beside them is no garbage. */
const onDisk = (): Promise<number> => bytesOnDisk(join(server.data, 'objects'), 'tables')

test.skipIf(isServerShared)(
  'after deleting 90 % of a table VACUUM FULL gives the disk space back',
  async () => {
    await client.query(`CREATE TABLE big (id int PRIMARY KEY, e vector(${dimensions}))`)
    await client.query(
      'CREATE INDEX ON big USING hnsw (e vector_l2_ops) WITH (m = 8, ef_construction = 32)',
    )
    await copyRows(client, 'big', 0, rowCount, dimensions)
    await client.query('VACUUM FULL big')
    const full = await onDisk()
    expect(full).toBeGreaterThan(rowCount * dimensions * 4)
    await client.query('DELETE FROM big WHERE id % 10 <> 0')
    const kept = Array.from({ length: rowCount / 10 }, (_, i) => i * 10)

    // Within the retention: nothing to remove yet, and the past can be read.
    expect(await verbose('VACUUM (VERBOSE) big')).toMatch(
      /INFO: finished vacuuming "postgres\.public\.big":\n.*\ntuples: 0 removed, 2000 remain, 18000 are dead but not yet removable/,
    )
    const before = new Date().toISOString()
    await client.query('DELETE FROM big WHERE id = 0')
    kept.shift()
    await client.query(`SET elanus.read_time = '${before}'`)
    expect(await ids('big')).toEqual([0, ...kept])
    await client.query('RESET elanus.read_time')

    const report = await verbose('VACUUM (FULL, VERBOSE) big')
    expect(report).toMatch(/INFO: vacuuming "postgres\.public\.big"/)
    expect(report).toMatch(
      /tuples: 18001 removed, 1999 remain, 0 are dead but not yet removable\nbytes: \d+ given back, \d+ remain/,
    )
    expect(await onDisk()).toBeLessThan(full * 0.15)
    expect(await ids('big')).toEqual(kept)
    const { rows } = await client.query(
      'SELECT count(*)::int AS segments FROM elanus.segments WHERE "table" = $1::regclass',
      ['big'],
    )
    expect(rows).toEqual([{ segments: 1 }])

    // What is gone is not taken for what never was.
    await client.query(`SET elanus.read_time = '${before}'`)
    await expect(ids('big')).rejects.toMatchObject({ code: '72000' })
    await client.query('RESET elanus.read_time')
  },
)

test.skipIf(isServerShared)(
  'a snapshot that VACUUM FULL leaves without rows is refused, also after a restart',
  async () => {
    await client.query('CREATE TABLE gone (id int PRIMARY KEY)')
    await client.query('INSERT INTO gone SELECT generate_series(1, 100)')
    await client.query('VACUUM gone')
    const before = new Date().toISOString()
    await client.query('DELETE FROM gone')
    await client.query('VACUUM FULL gone')
    await client.query(`SET elanus.read_time = '${before}'`)
    await expect(ids('gone')).rejects.toMatchObject({ code: '72000' })
    await client.end()
    await server.kill()
    server = await startServer({ data: server.data, args: ['--retention', '1h'] })
    client = await connect(server)
    await client.query(`SET elanus.read_time = '${before}'`)
    await expect(ids('gone')).rejects.toMatchObject({ code: '72000' })
    await client.query('RESET elanus.read_time')
    expect(await ids('gone')).toEqual([])
    expect(await ids('big')).toHaveLength(1999)
  },
)

test.skipIf(isServerShared)('TRUNCATE and VACUUM FULL leave no file behind', async () => {
  await client.query('TRUNCATE big')
  await client.query('VACUUM FULL')
  expect(await onDisk()).toBe(0)
})

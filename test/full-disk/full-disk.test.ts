/**
 * A disk that is full under a running server: writes are refused with 53100, reads go on; when there is space again writes go
 * on without a restart; nothing that was acknowledged is lost and nothing that was refused is there.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { bytesOnDisk, connect, copyRows, vectorOf } from '../upkeep/load.js'
import { mountSmallDisk, type SmallDisk } from './small-disk.js'

const dimensions = 32
const args = ['--seal-bytes', '1MB']
/** A bound against hanging. */
const silentMsMax = 60_000

let disk: SmallDisk | string | undefined
let server: TestServer | undefined
afterEach(async () => {
  await server?.kill()
  server = undefined
  if (typeof disk === 'object') disk.unmount()
})

/** What clients were told: ids acknowledged, and ids refused for certain. */
class Told {
  readonly acknowledged = new Set<number>()
  readonly refused = new Set<number>()
  #next = 1

  ids(count: number): number[] {
    return Array.from({ length: count }, () => this.#next++)
  }

  /** @returns the error that refused it */
  async write(
    ids: readonly number[],
    act: () => Promise<unknown>,
  ): Promise<pg.DatabaseError | undefined> {
    try {
      await act()
      for (const id of ids) this.acknowledged.add(id)
      return undefined
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error
      for (const id of ids) this.refused.add(id)
      return error
    }
  }
}

const insert = (client: pg.Client, table: string, told: Told) => {
  const [id = 0] = told.ids(1)
  return told.write([id], () =>
    client.query(`INSERT INTO ${table} (id, e) VALUES ($1, $2)`, [
      id,
      `[${vectorOf(id, dimensions).join()}]`,
    ]),
  )
}

function copy(client: pg.Client, table: string, told: Told, count: number) {
  const ids = told.ids(count)
  return told.write(ids, () =>
    copyRows(client, table, ids[0] ?? 0, (ids.at(-1) ?? 0) + 1, dimensions),
  )
}

async function expectRows(client: pg.Client, table: string, told: Told): Promise<void> {
  const { rows } = await client.query<{ id: number }>(`SELECT id FROM ${table}`)
  const found = rows.map(({ id }) => id)
  expect(new Set(found).size).toBe(found.length)
  expect(found.filter((id) => told.refused.has(id))).toEqual([])
  expect(found.sort((a, b) => a - b)).toEqual([...told.acknowledged].sort((a, b) => a - b))
}

async function expectReads(client: pg.Client, table: string, told: Told): Promise<void> {
  const counted = await client.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`)
  expect(Number(counted.rows[0]?.n)).toBe(told.acknowledged.size)
  const [wanted = 0] = told.acknowledged
  const found = await client.query<{ id: number }>(
    `SELECT id FROM ${table} ORDER BY e <-> $1 LIMIT 3`,
    [`[${vectorOf(wanted, dimensions).join()}]`],
  )
  expect(found.rows[0]?.id).toBe(wanted)
  expect(new Set(found.rows.map(({ id }) => id)).size).toBe(3)
}

async function untilRefused(
  write: () => Promise<pg.DatabaseError | undefined>,
): Promise<pg.DatabaseError> {
  const deadline = Date.now() + silentMsMax
  for (;;) {
    const error = await write()
    if (error !== undefined) return error
    if (Date.now() > deadline) throw new Error('a full disk takes everything')
  }
}

async function untilTaken(write: () => Promise<pg.DatabaseError | undefined>): Promise<void> {
  const deadline = Date.now() + silentMsMax
  for (;;) {
    const error = await write()
    if (error === undefined) return
    if (Date.now() > deadline) throw error
    await sleep(100)
  }
}

test('a full disk refuses writes with 53100, is read, and takes writes again when it is not full any more', async (context) => {
  disk = mountSmallDisk(192)
  if (typeof disk === 'string') return context.skip(disk)
  const data = join(disk.path, 'data')
  server = await startServer({ data, args })
  let client = await connect(server)
  await client.query('CREATE EXTENSION vector')
  await client.query(`CREATE TABLE t (id int PRIMARY KEY, e vector(${dimensions}))`)
  await client.query(
    'CREATE INDEX ON t USING hnsw (e vector_l2_ops) WITH (m = 8, ef_construction = 32)',
  )
  const told = new Told()
  expect(await copy(client, 't', told, 20_000)).toBeUndefined()
  await client.query('CHECKPOINT')

  await disk.fill()
  const refused = await untilRefused(() => insert(client, 't', told))
  expect(refused.code).toBe('53100')
  expect(refused.message).toMatch(/No space left on device/)
  expect(refused.hint).toMatch(/space/)
  // Long enough for leases of every kind to run out.
  const until = Date.now() + 12_000
  while (Date.now() < until) {
    await expectReads(client, 't', told)
    expect((await insert(client, 't', told))?.code ?? '53100').toBe('53100')
    await sleep(300)
  }
  expect((await untilRefused(() => copy(client, 't', told, 5000))).code).toBe('53100')
  for (const sql of ['CHECKPOINT', 'VACUUM FULL t', 'CREATE TABLE u AS SELECT * FROM t']) {
    const error = await client.query(sql).then(
      () => undefined,
      (thrown: pg.DatabaseError) => thrown,
    )
    expect({ sql, code: error?.code ?? '53100' }).toEqual({ sql, code: '53100' })
  }
  const other = await connect(server)
  await expectReads(other, 't', told)
  await other.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await expectReads(other, 't', told)
  await other.query('COMMIT')
  await other.end()

  await disk.free()
  await untilTaken(() => insert(client, 't', told))
  await untilTaken(() => copy(client, 't', told, 5000))
  await client.query('DROP TABLE IF EXISTS u')
  await client.query('CREATE TABLE u AS SELECT * FROM t')
  await client.query('CHECKPOINT')
  await expectRows(client, 't', told)
  expect((await client.query('SELECT id FROM u')).rowCount).toBe(told.acknowledged.size)

  // It runs full by what is written: in the midst of a COPY, of flushes and of merges.
  await disk.fill(5_000_000)
  expect((await untilRefused(() => copy(client, 't', told, 3000))).code).toBe('53100')
  await expectReads(client, 't', told)
  await disk.free()
  await untilTaken(() => copy(client, 't', told, 3000))
  await client.query('VACUUM FULL t')
  await expectRows(client, 't', told)

  // Killed while it is full; it does not start then, says why, and starts when there is space.
  await disk.fill()
  await untilRefused(() => insert(client, 't', told))
  await server.kill()
  await disk.fill()
  await expect(startServer({ data, args })).rejects.toThrow(/No space left on device/)
  await disk.free()
  server = await startServer({ data, args })
  client = await connect(server)
  await expectRows(client, 't', told)
  await untilTaken(() => insert(client, 't', told))

  // Stopped in order while it is full.
  await disk.fill()
  await untilRefused(() => insert(client, 't', told))
  await server.stop()
  await disk.free()
  server = await startServer({ data, args })
  client = await connect(server)
  await expectRows(client, 't', told)
  await expectReads(client, 't', told)
  await client.end()
})

test('a full object store delays flushes and merges: rows are written and read meanwhile, and flushed when there is space', async (context) => {
  disk = mountSmallDisk(24)
  if (typeof disk === 'string') return context.skip(disk)
  const data = await mkdtemp(join(tmpdir(), 'elanus-full-objects-'))
  const objects = join(disk.path, 'objects')
  const withObjects = [...args, '--objects', `directory://${objects}`]
  try {
    server = await startServer({ data, args: withObjects })
    let client = await connect(server)
    await client.query('CREATE EXTENSION vector')
    await client.query(`CREATE TABLE t (id int PRIMARY KEY, e vector(${dimensions}))`)
    const told = new Told()
    expect(await copy(client, 't', told, 5000)).toBeUndefined()
    await client.query('CHECKPOINT')
    const before = await bytesOnDisk(objects)
    expect(before).toBeGreaterThan(0)

    await disk.fill(300_000)
    for (let i = 0; i < 10; i += 1) expect(await copy(client, 't', told, 3000)).toBeUndefined()
    const failed = await client.query('CHECKPOINT').catch((error: pg.DatabaseError) => error)
    expect(failed).toMatchObject({ code: '53100' })
    await expectReads(client, 't', told)
    await client.query('UPDATE t SET id = id WHERE id <= 100')
    await expectRows(client, 't', told)

    await disk.free()
    await client.query('CHECKPOINT')
    expect(await bytesOnDisk(objects)).toBeGreaterThan(before * 3)
    await expectRows(client, 't', told)
    await disk.fill()
    expect(await insert(client, 't', told)).toBeUndefined()
    await server.kill()
    // It starts with a full object store, too.
    server = await startServer({ data, args: withObjects })
    client = await connect(server)
    await expectRows(client, 't', told)
    await client.end()
  } finally {
    await server?.kill()
    await rm(data, { recursive: true, force: true })
  }
})

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

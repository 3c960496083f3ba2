import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startServer, type TestServer } from '../server.js'
import { elanus, elanusDone } from './cli.js'
import { connect, everything, fill, insertDocs, recall, rowCount } from './database.js'

// Servers start and commands run one after the other: minutes on a machine that is busy.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 })

let folder: string
let source: TestServer
let target: TestServer
let from: pg.Client
let to: pg.Client

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'elanus-backups-'))
  source = await startServer()
  // Rows lie on other log channels there.
  target = await startServer({ args: ['--log-channels', '3'] })
  from = await connect(source.port)
  to = await connect(target.port)
  // OIDs of then are taken.
  await to.query('CREATE TABLE was_here (a int PRIMARY KEY)')
  await to.query('INSERT INTO was_here VALUES (1)')
  await fill(from)
})
afterAll(async () => {
  await from.end()
  await to.end()
  await source.stop()
  await target.stop()
  await rm(folder, { recursive: true, force: true })
})

const backup = (...args: string[]) =>
  elanusDone('backup', '--port', String(source.port), '--to', folder, ...args)
const restore = (port: number, ...args: string[]) =>
  elanusDone('restore', '--port', String(port), '--from', folder, ...args)

test('a backup restored elsewhere is the same database, and goes on', async () => {
  await backup('--verify')
  await restore(target.port)
  const before = await everything(from)
  expect(await everything(to)).toEqual(before)
  expect(await recall(to)).toBe(await recall(from))
  expect(await recall(to)).toBeGreaterThan(0.95)
  // Index files were taken over: all rows are covered before anything could have been built.
  const { rows } = await to.query('SELECT stage, count(*)::int FROM elanus.segments GROUP BY 1')
  expect(rows.map(({ stage }) => stage)).toContain('indexed')

  // Constraints hold at once, sequences continue.
  await expect(to.query("INSERT INTO shop.docs (title) VALUES ('t1')")).rejects.toMatchObject({
    code: '23505',
  })
  await expect(to.query('INSERT INTO shop.docs (id) VALUES (1)')).rejects.toMatchObject({
    code: '23505',
  })
  await expect(to.query('INSERT INTO orders (doc) VALUES (-1)')).rejects.toMatchObject({
    code: '23503',
  })
  await expect(to.query('DELETE FROM shop.docs WHERE id = 1')).rejects.toMatchObject({
    code: '23503',
  })
  const added = await to.query("INSERT INTO shop.docs (title) VALUES ('new') RETURNING id::int, m")
  // The insert that failed has used a value.
  expect(added.rows[0]).toEqual({ id: rowCount + 2, m: 'happy' })
  await to.query('DELETE FROM shop.docs WHERE id = $1', [rowCount + 2])
  expect((await to.query('SELECT a FROM was_here')).rows).toEqual([{ a: 1 }])

  // After kill -9 it is still there, merged and all.
  await to.query('VACUUM FULL shop.docs')
  await to.end()
  await target.kill()
  target = await startServer({ data: target.data })
  to = await connect(target.port)
  expect(await everything(to)).toEqual(before)
})

test('back again, into an empty one: nothing is lost on the way', async () => {
  const third = await startServer({ args: ['--log-channels', '2'] })
  const there = join(folder, 'second')
  try {
    await elanusDone('backup', '--port', String(target.port), '--to', there)
    await elanusDone('restore', '--port', String(third.port), '--from', there)
    const client = await connect(third.port)
    expect(await everything(client)).toEqual(await everything(from))
    await client.end()
  } finally {
    await third.stop()
  }
})

test('names that are taken are refused, and replaced when told so', async () => {
  const refused = await elanus('restore', '--port', String(target.port), '--from', folder)
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/relation .*"shop"."docs".* already exists \(42P07\)/)
})

test('the next backup copies only what is new', async () => {
  await insertDocs(from, 10_000, 10)
  const said = await backup()
  const [, copied = '', skipped = ''] = /(\d+) bytes copied, (\d+) were there/.exec(said) ?? []
  expect(Number(skipped)).toBeGreaterThan(5 * Number(copied))
})

test('damage is found before anything is made of it', async () => {
  const copy = await mkdtemp(join(tmpdir(), 'elanus-backups-'))
  try {
    await elanusDone('backup', '--port', String(source.port), '--to', copy)
    const [file = ''] = (await readdir(copy, { recursive: true })).filter((name) =>
      name.endsWith('.hnsw'),
    )
    const bytes = await readFile(join(copy, file))
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    await writeFile(join(copy, file), bytes)
    const verified = await elanus('restore', '--verify', '--from', copy)
    expect(verified.code).toBe(1)
    expect(verified.stderr).toContain('is damaged')
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
})

test('only superusers', async () => {
  const run = await elanus(
    ...['backup', '--port', String(source.port), '--to', folder, '--user', 'reader'],
  )
  expect(run.code).toBe(1)
  expect(run.stderr).toContain('permission denied')
})

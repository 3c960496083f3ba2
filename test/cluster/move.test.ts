/**
 * A database moves from standalone to a cluster and back by backup and restore, through a directory and through S3: the same rows,
 * indexes, sequences, deletes. ELANUS_TEST_SERVER=HOST:PORT,HOST:PORT names two proxies of a cluster, ELANUS_TEST_S3 the service
 * that has its objects and takes backups (docs/testing.md).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { elanus, elanusDone } from '../backup/cli.js'
import { connect, everything, fill, insertDocs, recall, rowCount } from '../backup/database.js'
import { startServer, type TestServer } from '../server.js'
import { sharedServers } from '../shared-server.js'

// Servers start and commands run one after the other: minutes on a machine that is busy.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 })

const [firstAddress, secondAddress] = sharedServers
const s3 = process.env['ELANUS_TEST_S3']
/** Of this run: a bucket outlives it. */
const prefix = `moved-${process.pid}-${Math.random().toString(36).slice(2)}`

/** http://KEY:SECRET@HOST:PORT/BUCKET as `elanus backup --to` takes it; the keys go into the environment. */
function s3Folder(): string {
  const { username, password, host, pathname } = new URL(s3 ?? '')
  process.env['AWS_ACCESS_KEY_ID'] = username
  process.env['AWS_SECRET_ACCESS_KEY'] = password
  return `s3:/${pathname}/${prefix}?endpoint=http://${host}`
}

async function rows(client: pg.Client, sql: string): Promise<unknown[][]> {
  return (await client.query({ text: sql, rowMode: 'array' })).rows
}

async function code(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: pg.DatabaseError) => error.code,
  )
}

/** What the planner and people are told of how many rows there are: deletes that came along count. */
const counted = (client: pg.Client) =>
  rows(
    client,
    `SELECT relname, n_live_tup::int FROM pg_stat_user_tables
       WHERE relname IN ('docs', 'orders', 'events', 'emptied') ORDER BY 1`,
  )

describe.skipIf(secondAddress === undefined || s3 === undefined)(
  'moving: needs a cluster in ELANUS_TEST_SERVER and a bucket in ELANUS_TEST_S3',
  () => {
    let folder: string
    let bucketFolder: string
    let source: TestServer
    let from: pg.Client
    let first: pg.Client
    let second: pg.Client

    beforeAll(async () => {
      bucketFolder = s3Folder()
      folder = await mkdtemp(join(tmpdir(), 'elanus-moved-'))
      // Emptied.
      await startServer()
      source = await startServer({ own: true })
      from = await connect(source.port)
      first = await connect(firstAddress?.port ?? 0)
      second = await connect(secondAddress?.port ?? 0)
      await fill(from)
      await from.query('CREATE SEQUENCE tickets START 100 INCREMENT 5')
      await from.query("SELECT nextval('tickets'), nextval('tickets')")
    })
    afterAll(async () => {
      for (const client of [from, first, second]) await client?.end()
      await source?.stop()
      await rm(folder, { recursive: true, force: true })
    })

    const command = (verb: string, port: number | undefined, ...args: readonly string[]) =>
      elanusDone(verb, '--port', String(port), ...args)

    test('from standalone to the cluster: both proxies have all of it, and it goes on', async () => {
      await command('backup', source.port, '--to', folder, '--verify')
      await command('restore', firstAddress?.port, '--from', folder)
      const before = await everything(from)
      expect(await everything(first)).toEqual(before)
      expect(await everything(second)).toEqual(before)
      expect(await counted(second)).toEqual(await counted(from))
      // The index came along: what it finds is what it found.
      expect(await recall(first)).toBe(await recall(from))
      expect(await recall(second)).toBeGreaterThan(0.95)
      const stages = await rows(second, 'SELECT DISTINCT stage FROM elanus.segments')
      expect(stages.flat()).toContain('indexed')

      // Keys hold over shards and log channels, over either proxy.
      expect(await code(second.query("INSERT INTO shop.docs (title) VALUES ('t1')"))).toBe('23505')
      expect(await code(first.query('INSERT INTO shop.docs (id) VALUES (1)'))).toBe('23505')
      expect(await code(second.query('INSERT INTO orders (doc) VALUES (-1)'))).toBe('23503')
      expect(await code(first.query('DELETE FROM shop.docs WHERE id = 1'))).toBe('23503')
      // Values that were given come no more.
      const [[ticket] = []] = await rows(second, "SELECT nextval('tickets')::int")
      expect(ticket).toBeGreaterThan(105)
      const [[id] = []] = await rows(
        first,
        "INSERT INTO shop.docs (title) VALUES ('one more') RETURNING id::int",
      )
      expect(id).toBeGreaterThan(rowCount)
      await second.query('DELETE FROM shop.docs WHERE id = $1', [id])
    })

    test('what the cluster has done since goes back, through a directory and through S3', async () => {
      await insertDocs(first, 10_000, 200)
      await second.query('DELETE FROM shop.docs WHERE id % 6 = 1 AND id > 60')
      await first.query("UPDATE shop.docs SET title = title || 'z' WHERE id % 9 = 0")
      await second.query('CREATE TABLE made_there AS SELECT id, title FROM shop.docs WHERE id < 30')
      const before = await everything(first)
      const made = await rows(second, 'SELECT * FROM made_there ORDER BY id')
      const [[given] = []] = await rows(first, "SELECT nextval('tickets')::int")

      const there = join(folder, 'of-the-cluster')
      await command('backup', secondAddress?.port, '--to', there)
      await command('backup', firstAddress?.port, '--to', bucketFolder, '--verify')
      await elanusDone('restore', '--verify', '--from', bucketFolder)
      for (const [place, logChannels] of [
        [there, '1'],
        [bucketFolder, '3'],
      ] as const) {
        const target = await startServer({ own: true, args: ['--log-channels', logChannels] })
        try {
          await command('restore', target.port, '--from', place)
          const client = await connect(target.port)
          expect(await everything(client)).toEqual(before)
          expect(await rows(client, 'SELECT * FROM made_there ORDER BY id')).toEqual(made)
          expect(await counted(client)).toEqual(await counted(first))
          expect(await recall(client)).toBeGreaterThan(0.95)
          const [[next] = []] = await rows(client, "SELECT nextval('tickets')::int")
          expect(next).toBeGreaterThan(Number(given))
          expect(await code(client.query("INSERT INTO shop.docs (title) VALUES ('t2')"))).toBe(
            '23505',
          )
          await client.end()
        } finally {
          await target.stop()
        }
      }
    })

    test('into S3 the next backup copies only what is new; one that lies there comes to the cluster', async () => {
      await insertDocs(second, 20_000, 5)
      const said = await command('backup', secondAddress?.port, '--to', bucketFolder)
      const [, copied = '', skipped = ''] = /(\d+) bytes copied, (\d+) were there/.exec(said) ?? []
      expect(Number(copied)).toBeGreaterThan(0)
      expect(Number(skipped)).toBeGreaterThan(5 * Number(copied))
      const refused = await elanus(
        ...['restore', '--port', String(firstAddress?.port), '--from', bucketFolder],
      )
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(/already exists \(42P07\)/),
      ])
      const before = await everything(first)
      await first.query('DELETE FROM orders')
      await command('restore', firstAddress?.port, '--from', bucketFolder, '--replace')
      expect(await everything(second)).toEqual(before)
    })
  },
)

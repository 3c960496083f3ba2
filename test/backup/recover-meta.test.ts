/** The meta store is lost: object store and log have everything that was acknowledged. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { startServer } from '../server.js'
import { elanus, elanusDone } from './cli.js'
import { connect, everything, fill, insertDocs, recall, rowCount } from './database.js'

// Servers start and commands run one after the other: minutes on a machine that is busy.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 })

test('what was acknowledged is there again, whatever had happened to it before', async () => {
  let server = await startServer({ args: ['--log-channels', '2', '--retention', '1s'] })
  const { data } = server
  let client = await connect(server.port)
  const lose = async (): Promise<void> => {
    await client.end()
    await server.kill()
    await rm(join(data, 'meta'), { recursive: true })
    // Nobody begins anew over what is there.
    await expect(startServer({ data })).rejects.toThrow(/run "elanus recover-meta"/)
    await elanusDone('recover-meta', '--data', data)
    server = await startServer({ data, args: ['--retention', '1s'] })
    client = await connect(server.port)
  }
  try {
    // Everything is in the log.
    await fill(client)
    const first = await everything(client)
    await lose()
    expect(await everything(client)).toEqual(first)

    // Ids go on behind all that were given, keys hold, and what is in objects, merged and collected is found, too.
    await insertDocs(client, 20_000, 50)
    const { rows } = await client.query('SELECT min(id)::int AS id FROM shop.docs WHERE id > $1', [
      rowCount,
    ])
    expect(rows[0]?.id).toBeGreaterThan(rowCount)
    await expect(client.query("INSERT INTO shop.docs (title) VALUES ('t1')")).rejects.toMatchObject(
      { code: '23505' },
    )
    await client.query('CHECKPOINT')
    await client.query("UPDATE shop.docs SET title = title || 'y' WHERE id % 3 = 0")
    await client.query('VACUUM FULL shop.docs')
    await client.query('CHECKPOINT')
    await client.query('DELETE FROM shop.docs WHERE id % 11 = 0 AND id > 50')
    await client.query('CREATE TABLE made_late AS SELECT id, title FROM shop.docs LIMIT 20')
    await client.query('DROP TABLE emptied')
    await client.query('CREATE TABLE emptied (other text)')
    await client.query('INSERT INTO emptied SELECT title FROM made_late')
    const second = await everything(client)
    const late = await client.query('SELECT * FROM made_late ORDER BY id')
    await lose()
    expect(await everything(client)).toEqual(second)
    expect((await client.query('SELECT * FROM made_late ORDER BY id')).rows).toEqual(late.rows)
    expect(await recall(client)).toBeGreaterThan(0.95)

    // A meta store that is there stays.
    const refused = await elanus('recover-meta', '--data', data)
    expect(refused.code).not.toBe(0)
  } finally {
    await client.end()
    await server.stop()
    await rm(data, { recursive: true, force: true })
  }
})

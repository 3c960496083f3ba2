/** A backup under writers is the database at one timestamp: transactions over several shards and log channels are in it or not. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { startServer } from '../server.js'
import { elanusDone } from './cli.js'
import { connect } from './database.js'

// Servers start and commands run one after the other: minutes on a machine that is busy.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 })

const accounts = 40

test('every transfer is in the backup whole or not at all', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'elanus-backups-'))
  const source = await startServer({ args: ['--log-channels', '3', '--seal-bytes', '1MB'] })
  const target = await startServer()
  const client = await connect(source.port)
  await client.query('CREATE TABLE account (id int PRIMARY KEY, balance int) WITH (shards = 4)')
  await client.query('CREATE TABLE journal (account int, change int)')
  await client.query(`INSERT INTO account SELECT i, 1000 FROM generate_series(1, ${accounts}) i`)
  let isDone = false
  let transferCount = 0
  const transfer = async (seed: number): Promise<void> => {
    const own = await connect(source.port)
    for (let n = seed; !isDone; n += 7) {
      const [a, b] = [1 + (n % accounts), 1 + ((n * 13 + 5) % accounts)]
      try {
        await own.query('BEGIN')
        await own.query('UPDATE account SET balance = balance - 1 WHERE id = $1', [a])
        await own.query('UPDATE account SET balance = balance + 1 WHERE id = $1', [b])
        await own.query('INSERT INTO journal VALUES ($1, -1), ($2, 1)', [a, b])
        await own.query('COMMIT')
        transferCount += 1
      } catch {
        await own.query('ROLLBACK')
      }
    }
    await own.end()
  }
  const writers = [1, 2, 3].map(transfer)
  try {
    // Each restore replaces the one before.
    for (let round = 0; round < 2; round += 1) {
      const before = transferCount
      await elanusDone('backup', '--port', String(source.port), '--to', folder)
      await elanusDone(
        ...['restore', '--port', String(target.port), '--from', folder],
        ...(round === 0 ? [] : ['--replace']),
      )
      const reader = await connect(target.port)
      const { rows } = await reader.query(`
        SELECT sum(balance)::int AS total, (SELECT count(*)::int FROM journal) AS entries,
          (SELECT count(*)::int FROM account a
             WHERE balance <> 1000 + coalesce((SELECT sum(change) FROM journal j WHERE j.account = a.id), 0)) AS wrong
        FROM account`)
      expect(rows[0]).toMatchObject({ total: accounts * 1000, wrong: 0 })
      // Acknowledged before the backup began: in it.
      expect(rows[0]?.entries).toBeGreaterThanOrEqual(2 * before)
      await reader.end()
    }
  } finally {
    isDone = true
    await Promise.all(writers)
    await client.end()
    await source.stop()
    await target.stop()
    await rm(folder, { recursive: true, force: true })
  }
})
